# Makes image.tar, as `docker save` writes it: the tree $1 and a second layer of changes to its /etc. Prints what is to be seen in /etc.
set -e
mkdir -p two/etc/default two/etc/new merged
cp -a "$1/etc" merged/etc

echo replaced >two/etc/hostname
: >two/etc/.wh.issue
: >two/etc/default/.wh..wh..opq
echo only >two/etc/default/only
ln two/etc/default/only two/etc/new/hard
ln -s ../hostname two/etc/new/link
cat >two/etc/new/show <<'END'
export LC_ALL=C
find etc -type d -printf '%y %m %U %G %p\n' -o -printf '%y %m %U %G %n %s %T@ %l %p\n' | sed 's/\.[0-9]* / /' | sort
find etc -type f -exec sha256sum {} + | sort
exit 3
END

rm -r merged/etc/issue merged/etc/default
cp -a two/etc/. merged/etc
find merged -name '.wh.*' -delete

tar -C "$1" -cf 1.tar .
tar -C two --format=pax -cf 2.tar etc
ids=$(sha256sum 1.tar 2.tar | sed 's/\(.\{64\}\).*/"sha256:\1"/' | paste -sd,)
gzip 2.tar
cat >config.json <<END
{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[$ids]},
 "config":{"Entrypoint":["/bin/sh"],"Cmd":["etc/new/show"],"WorkingDir":"/","Env":["PATH=/usr/bin:/bin"]}}
END
echo '[{"Config":"config.json","RepoTags":["cordon-test:1"],"Layers":["1.tar","2.tar.gz"]}]' >manifest.json
tar -cf image.tar manifest.json config.json 1.tar 2.tar.gz
cd merged
sh ../two/etc/new/show || exit $(($? - 3))
