# stress-ng's classes, each bounded: whether they pass, as their figures differ at every run.
for s in 'cpu 1 --cpu-ops 20' 'vm 1 --vm-bytes 8M --vm-ops 200' 'fork 1 --fork-ops 50' 'pipe 1 --pipe-ops 500' 'futex 1 --futex-ops 200' 'signal 1 --signal-ops 200' \
    'sigq 1 --sigq-ops 100' 'switch 1 --switch-ops 200' 'mmap 1 --mmap-bytes 4M --mmap-ops 5' 'clone 1 --clone-ops 20' 'eventfd 1 --eventfd-ops 100' 'poll 1 --poll-ops 50' \
    'pthread 1 --pthread-ops 50' 'vfork 1 --vfork-ops 30' 'exec 1 --exec-ops 5' 'dentry 1 --dentry-ops 100' 'timerfd 1 --timerfd-ops 20' 'epoll 1 --epoll-ops 50' 'sem 1 --sem-ops 200' 'sock 1 --sock-ops 20' 'udp 1 --udp-ops 50'; do
    stress-ng --timeout 10 --temp-path /tmp --$s 2>&1 | grep -Eo 'successful run completed|failed: [0-9]+|unsuccessful.*|fail: .*' | sed "s/^/${s%% *}: /"
done
