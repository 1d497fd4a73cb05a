# bash beyond the standard shell: process substitution, arrays, coprocesses, job control, pipefail.
diff <(seq 1 5) <(seq 1 2 9)
paste <(echo a) <(echo b)
echo through > >(tr a-z A-Z); wait $!
a=(one two three); a+=(four); echo "${#a[@]} ${a[-1]} ${a[@]:1:2}"
declare -A m=([x]=1 [y]=2); for k in x y; do echo "$k ${m[$k]}"; done
s='hello world'; echo "${s^^} ${s//o/0} ${s:0:5} ${#s}"
[[ $s =~ (w.*)$ ]] && echo "${BASH_REMATCH[1]}"
set -o pipefail; false | true; echo "pipefail $?"
printf '%s|' {a..e} {1..10..3}; echo
coproc cat; echo "to the coprocess" >&"${COPROC[1]}"; read -r l <&"${COPROC[0]}"; echo "$l"; eval "exec ${COPROC[1]}>&-"; wait "$COPROC_PID"; echo "coprocess $?"
set -m
sleep 1 & jobs | sed 's/  */ /g'; wait; echo "all waited $?"
# When the shell says on its standard error that a job has ended is chance, here and below.
{ sleep 30 & kill %1; wait %1; } 2>/dev/null; echo "job killed $?"
(sleep 0.05; exit 3) & wait -n; echo "wait -n $?"
{ sleep 30 & kill -STOP %%; while [ -z "$(jobs -s)" ]; do :; done; jobs -s | sed 's/  */ /g'; kill -CONT %%; kill %%; wait; } 2>/dev/null
set +m
trap 'echo "INT"' INT; kill -INT $$; trap - INT
trap 'echo "CHLD"' CHLD; /bin/true; trap - CHLD
mapfile -t lines < <(seq 3); echo "${lines[*]}"
read -r -t 0.05 never < <(sleep 3); echo "timed out: $(($? > 128))"
while read -r -n 1 c; do printf '<%s>' "$c"; done <<< abc; echo
exec {fd}<>file; echo data >&$fd; cat file; exec {fd}>&-
f() { trap 'echo "returning"' RETURN; return 2; }; f; echo $?; trap - RETURN
echo "$BASHPID" | grep -qv '^$' && echo pid
ulimit -s > /dev/null && echo ulimit
(trap '' TERM; kill -TERM $BASHPID; echo survived)
{ bash -c 'kill -SEGV $$'; } 2>/dev/null; echo "segv $?"
for ((i = 0; i < 3; i++)); do echo -n "$i "; done; echo
{ sleep 1; echo second; } & echo first; wait
compgen -b | head -n 3
exit 6
