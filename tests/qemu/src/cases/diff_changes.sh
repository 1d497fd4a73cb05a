umask 022
cd /
mkdir -p new/deep/er
head -c 100000 /bin/bash >new/deep/file
ln new/deep/file new/hard
ln -s ../etc/passwd new/soft
mkfifo new/pipe
truncate -s 3M new/hole
printf end >>new/hole
: >"new/$(printf 'n%.0s' $(seq 255))"
rm etc/hostname usr/bin/cmp
echo more >>etc/passwd
rm -r usr/share/bash-completion
mkdir usr/share/bash-completion
echo alone >usr/share/bash-completion/only
mv etc/default etc/moved
ln etc/moved/* new
mv usr/bin/find usr/bin/found
mv usr/bin/sort new/sort
ln -s ../../new/sort usr/bin/sort
rm usr/bin/uniq
mkdir usr/bin/uniq
chmod 2750 var
chown 3000000:70000 new/deep 2>new/refusal || :
touch -d @-5 new/old
cp -r etc new/copy
rm new/copy/passwd
mv new/copy/group new/copy/passwd
