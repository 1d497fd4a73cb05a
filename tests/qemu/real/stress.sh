# stress-ng's stressors, each bounded, some at a time: whether they pass, as their figures differ at every run.
run() { stress-ng --timeout 60 --temp-path /tmp "$@" 2>&1 | grep -Eo 'successful run completed|failed: [0-9]+|unsuccessful.*|fail: .*' | sed "s/^/$1: /"; }
run --cpu 1 --cpu-ops 20 --switch 1 --switch-ops 200 --poll 1 --poll-ops 50
run --vm 1 --vm-bytes 8M --vm-ops 200 --mmap 1 --mmap-bytes 4M --mmap-ops 2
run --fork 1 --fork-ops 50 --clone 1 --clone-ops 20 --vfork 1 --vfork-ops 30 --pthread 1 --pthread-ops 50
run --signal 1 --signal-ops 200 --sigq 1 --sigq-ops 100 --timerfd 1 --timerfd-ops 20
run --pipe 1 --pipe-ops 500 --eventfd 1 --eventfd-ops 100 --epoll 1 --epoll-ops 50
run --sock 1 --sock-ops 20 --udp 1 --udp-ops 50 --dentry 1 --dentry-ops 50
# On one slow processor its two sides hardly ever meet: it runs into its time limit.
run --futex 1 --futex-ops 200 --timeout 5
