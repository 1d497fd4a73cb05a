# find, grep, sed, awk, tar, gzip, xz and their kin on a small tree of files.
mkdir -p src/a/b src/c && cd src || exit 1
for i in 1 2 3 4 5 6 7 8 9; do seq $i 100 > a/file$i; done
printf 'alpha beta\ngamma delta\n' > a/b/words; ln -s ../a/file1 c/link; touch -d @100000000 c/old; chmod 600 c/old
find . | sort
find . -type f -size +0 -name 'file*' | sort | head -n 3
find . -type l -printf '%p -> %l\n'
find c -perm 600 -newermt 1970-01-02 ! -newermt 1990-01-01
find . -name words -exec grep -H gamma {} +
find a -maxdepth 1 -type f -print0 | sort -z | xargs -0 -n 3 echo
grep -rn 'alpha' . ; grep -c 5 a/file1; grep -E '^(1|2)0$' a/file1; grep -v '[0-9]' a/b/words; grep -q nothing a/file1; echo $?
grep -o 'e[a-z]' a/b/words; grep -P '\d{3}' a/file1; grep -w 10 -A 1 -B 1 a/file1
sed -n '2,4p' a/file1; sed 's/\(alpha\) \(beta\)/\2 \1/' a/b/words; sed -i 's/gamma/GAMMA/' a/b/words; cat a/b/words
sed '$!d' a/file2; sed -e '1{h;d}' -e 'G' a/b/words
awk '{ s += $1 } END { print s, NR }' a/file1
gawk 'BEGIN { PROCINFO["sorted_in"] = "@ind_str_asc"; a["x"]; a["b"]; for (k in a) print k; "echo from a command" | getline l; print l; print strftime("%Y", 0, 1) }'
mawk 'BEGIN { while (("seq 3" | getline x) > 0) print x * 2; printf "%.3f\n", atan2(0, -1) }'
gawk 'BEGIN { print "b\na" | "sort"; close("sort"); system("echo system; exit 3"); print "end" }'
cd .. ; tar --sort=name --mtime=@0 --owner=0 --group=0 -cf t.tar src; sha256sum t.tar; tar tvf t.tar | awk '{ print $1, $3, $6 }'
for z in gzip bzip2 xz; do
    case $z in gzip) o=z;; bzip2) o=j;; xz) o=J;; esac
    tar c${o}f t.tar.$o t.tar && mkdir x$o && tar x${o}f t.tar.$o -C x$o && cmp t.tar x$o/t.tar && echo "$z same"
    $z -k -6 -c t.tar | $z -dc | sha256sum
done
gzip -l t.tar.z > /dev/null; echo $?; gzip -t t.tar.j 2>/dev/null; echo $?
xz -T2 -c t.tar | xz -dc | cmp - t.tar && echo "xz threads"
xz --robot -l t.tar.J > /dev/null; echo $?
tar xf t.tar -O src/a/b/words; tar df t.tar > /dev/null; echo $?
diff -r src xz/src 2>/dev/null | head -n 2; diff -u src/a/file1 src/a/file2 | tail -n +3; cmp src/a/file1 src/a/file2
echo '2^100; scale=10; 1/3' | bc
