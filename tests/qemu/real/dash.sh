# What scripts do with processes: pipes, subshells, here-documents, traps, background jobs.
set -u
echo one two three | tr ' ' '\n' | sort -r | head -n 2
x=$(echo nested $(echo deeper $(echo deepest)))
echo "$x"
(cd / && pwd; exit 4); echo "subshell: $?"
cat <<END
here: $x $((7 * 6)) $(printf '%03d' 5)
END
cat <<'END'
quoted: $x $(no)
END
f() { local y=$1; echo "f $y $#"; return 9; }
f a b; echo "returned $?"
trap 'echo "trapped USR1"' USR1
kill -USR1 $$
trap 'echo "trapped EXIT"' EXIT
sleep 0.05 & wait $!; echo "waited $?"
(exit 7) & wait $!; echo "waited $?"
# Whether the shell says so by itself depends on when it notices.
{ sleep 10 & p=$!; kill $p; wait $p; echo "killed: $?"; } 2>/dev/null
sh -c 'kill -9 $$'; echo "killed itself: $?"
sh -c 'exit 300'; echo "wraps: $?"
i=0; while [ $i -lt 50 ]; do (exit $((i % 3))) || n=$((${n:-0} + 1)); i=$((i + 1)); done; echo "failures: $n"
seq 1 3000 | while read -r a; do s=$((${s:-0} + a)); [ "$a" = 3000 ] && echo "sum $s"; done
{ echo out; echo err >&2; } 2>&1 | sort
exec 3>file; echo "to three" >&3; exec 3>&-; cat file
exec 4<file; read -r line <&4; echo "from four: $line"; exec 4<&-
echo a > list; echo b >> list; cat < list
for f in /etc/h*; do echo "$f"; done
case "$x" in nested*) echo matches;; *) echo no;; esac
no_such_command 2>/dev/null; echo "missing: $?"
/etc/passwd 2>/dev/null; echo "not executable: $?"
true | false; echo "pipeline: $?"
! true; echo "negated: $?"
set -- a 'b c' d; echo "$# $2"; shift; echo "$1"
umask 027; touch masked; stat -c %a masked
ulimit -c 0; ulimit -c
echo "$(ulimit -n)" > /dev/null
yes | head -n 3 | wc -l
set -e; false || echo "still here"
exit 5
