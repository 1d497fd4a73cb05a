# A broad round of busybox' applets with real arguments: each with its name, output and exit code.
t() { echo "== $*"; busybox "$@" 2>&1; echo "-> $?"; }
mkdir work && cd work || exit 1
printf 'pear 3\napple 10\nfig 7\napple 2\n' > fruit
t ash -c 'a=1; b=$(echo $((a + 1))); echo $b | cat; (exit 3); echo $?'
t cat fruit
t tac fruit
t sort -k2 -n fruit
t uniq -c fruit
t cut -d ' ' -f 1 fruit
t tr a-z A-Z < fruit
t awk '{ s += $2 } END { print s }' fruit
t sed -e 's/apple/orange/' -e '2q' fruit
t grep -c apple fruit
t egrep '^(fig|pear)' fruit
t head -n 1 fruit
t tail -n 1 fruit
t wc -l fruit
t md5sum fruit
t sha256sum fruit
t sha3sum fruit
t cksum fruit
t od -x fruit
t hexdump -C fruit
t xxd fruit
t uuencode fruit fruit
t base64 fruit
t cp fruit other
t mv other third
t ln -s third soft
t readlink -f soft
t mkdir -p d/e/f
t find d -type d
t find . -name 'fr*' -exec echo found {} ';'
t xargs -n 2 echo < fruit
t tar cf archive.tar fruit third
t tar tf archive.tar
t gzip -k fruit
t gunzip -c fruit.gz
t zcat fruit.gz
t bzip2 -k fruit
t bunzip2 -c fruit.bz2
t cpio -t < /dev/null
t dd if=fruit bs=4 count=1
t stat -c '%n %s %a' fruit
t touch -d '2001-02-03 04:05:06' fruit
t date -u -r fruit
t chmod 600 fruit
# The two runs need not be within one minute.
t touch -d '2024-01-02 03:04:05' third
t ls -l -n third
t diff fruit third
t cmp fruit third
t expr 3 + 4
t seq 3
t factor 91
t printf '%d\n' 077
t echo one
t env -i X=1 busybox env
t basename /x/y
t dirname /x/y
t realpath .
t rm -r d
t rmdir no-such
t usleep 100
t sleep 0
t true
t false
t test 1 -eq 2
t timeout 1 busybox true
t strings fruit
t split -l 2 fruit p.
t cat p.ab
t fold -w 3 fruit
t nl fruit
t paste fruit fruit
t comm -3 fruit fruit
t dc -e '2 3 + p'
t bc < /dev/null
t cal 2 2023
t tsort < /dev/null
t patch --no-such
t which sh
t truncate -s 10 t10
