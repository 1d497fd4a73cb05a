# A broad round of coreutils' tools with real arguments: each with its name, output and exit code.
t() { echo "== $*"; "$@" 2>&1; echo "-> $?"; }
mkdir work && cd work || exit 1
printf 'pear 3\napple 10\nfig 7\napple 2\n' > fruit
t cat -n fruit
t tac fruit
t nl fruit
t head -n 2 fruit
t tail -n +3 fruit
t head -c 5 fruit
t wc fruit
t sort fruit
t sort -k2,2n -r fruit
t sort -u -k1,1 fruit
t cut -d ' ' -f 2 fruit
t paste -d, fruit fruit
t tr a-z A-Z < fruit
t rev /dev/null
t fold -w 4 fruit
t fmt -w 12 fruit
t expand fruit
t od -A d -t x1z fruit
t base64 fruit
t base32 fruit
t md5sum fruit
t sha1sum fruit
t sha512sum fruit
t b2sum fruit
t cksum fruit
t sum fruit
t seq 1 3 15
t seq -s, 5
t factor 360 9007199254740993
t numfmt --to=iec 1048576
t expr 6 '*' 7
t expr length abcdef
t printf '%s-%05d\n' a 42
t echo -e 'a\tb'
t basename /a/b/c.txt .txt
t dirname /a/b/c
t pathchk -p fruit
t touch -d @86400 old
t stat -c '%n %s %a %F %Y' old
t mkdir -p a/b/c
t mkdir a
t cp fruit a/b/fruit2
t cp -r a copy
t mv copy/b copy/moved
t ln fruit hard
t stat -c %h fruit
t ln -s fruit soft
t readlink soft
t realpath soft
t ls -1F
t ls -1R copy
t chmod 640 hard
t stat -c %A fruit
t chmod u+x,o-r hard
t stat -c %A fruit
t install -m 755 fruit installed
t stat -c %a installed
t cmp fruit hard
t cmp fruit /etc/hosts
t diff fruit installed
t comm -12 fruit fruit
t join fruit fruit
t uniq -c fruit
t split -l 2 fruit piece.
t cat piece.aa
t csplit -s fruit /fig/
t cat xx01
t tee copied < fruit
t truncate -s 100000 sparse
t stat -c %s sparse
t dd if=fruit of=dd.out bs=5 count=2 status=none
t cat dd.out
t dd if=/dev/zero of=zeros bs=4096 count=300 conv=notrunc status=none
t sha256sum zeros
t shred -n 1 -u xx00
t test -e xx00
t rm xx01
t rmdir a
t rm -r a
t test -d copy
t [ 3 -lt 4 ]
t env -i A=1 B=2 env
t printenv HOME
t id -u
t whoami
t groups
t uname -s
t nproc --all --ignore=1000
t date -u -d @1000000000 '+%Y-%m-%d %H:%M:%S'
t sleep 0.01
t timeout 0.1 sleep 5
t timeout 5 true
t nice -n 5 nice
t nohup true
t mktemp -u --suffix=x XXX.yyy.z
t tsort <<X
a b
b c
X
t ptx -G <<X
one two
X
t pr -t -2 fruit
t shuf -n 0 fruit
t true
t false
t yes no-such | head -n 2
t cat no-such-file
t ls no-such-file
t stdbuf -oL echo line
t dircolors -b /dev/null
t df -P --output=fstype /proc
t mkfifo pipe
t stat -c %F pipe
(cat pipe > through &) ; echo hello > pipe; sleep 0.1; t cat through
t chown 0:0 fruit
t sync
t unlink hard
t link fruit link
t ls -li --time-style=+%s --color=never no-such
t tty
t logname
