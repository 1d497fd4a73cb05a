# Programs written in Go, with its own threads, stacks and system calls.
printf '{"a":[1,2,{"b":null}],"c":"x"}' > j; gron j; gron j | gron --ungron; gron --no-such 2>/dev/null; echo $?; gron missing 2>/dev/null; echo $?
seq 1 3000 | fzf --filter 123; seq 1 3000 | fzf -f 'zz'; echo $?; printf 'if true;then echo a;fi\n' | shfmt; printf 'if' | shfmt 2>&1; echo $?
mkdir s; printf 'a(){\necho  b\n}\n' > s/x.sh; shfmt -l s; shfmt -w s; cat s/x.sh; shfmt -d s; echo $?; gron --version; fzf --version
