# Makes in the present directory, as root: `image`, an OCI image layout of Debian 12's root file system and two layers of changes to it, and
# `expected`, what the script $2 shows of it where umoci has unpacked it. All of it belongs to $1 then.
set -e
export LC_ALL=C
mmdebstrap --quiet --variant=extract --skip=output/dev --include=bash,coreutils,findutils,sed,grep,diffutils \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm base.tar
umoci init --layout image
umoci new --image image:demo
umoci config --image image:demo --config.entrypoint /bin/bash --config.env PATH=/usr/bin:/bin --config.env LC_ALL=C
umoci raw add-layer --image image:demo base.tar

# A layer as umoci finds it by looking at what differs: replaced, deleted, renamed, linked, of another kind, owner or mode.
umoci unpack --image image:demo bundle
(
  cd bundle/rootfs
  echo replaced >etc/issue
  rm etc/issue.net
  rm -r usr/share/base-files
  mv usr/share/common-licenses usr/share/licences
  mv etc/host.conf etc/moved.conf
  rm etc/debian_version && mkdir etc/debian_version && echo 12 >etc/debian_version/major
  rm -r usr/share/lintian && echo 'no directory any more' >usr/share/lintian
  ln usr/bin/sort usr/bin/sort.hard
  ln -s ../issue etc/profile.d/issue
  mkdir -p srv/one/two && echo two >srv/one/two/file && echo three >srv/one/three
  mkfifo srv/pipe
  chmod 4711 usr/bin/cmp
  chown 1234:5678 usr/bin/comm
  chmod 1770 var/lib
)
umoci repack --image image:demo bundle

# One by hand, with what umoci does not write: directories without what was in them, hard links to files of the layers below, long names.
mkdir -p two/srv/one/two two/etc/default two/usr/bin
: >two/srv/one/.wh..wh..opq
echo new >two/srv/one/two/new
: >two/etc/.wh.moved.conf
: >two/etc/default/.wh..wh..opq
ln bundle/rootfs/usr/bin/sort two/usr/bin/sort
ln two/usr/bin/sort two/usr/bin/sort.again
ln two/srv/one/two/new two/etc/default/new
long=$(printf 'long-%.0s' $(seq 40))
mkdir -p "two/srv/$long/$long" && echo long >"two/srv/$long/$long/file"
ln -s "$long/$long/file" two/srv/link
tar -C two --numeric-owner -cf two.tar usr/bin/sort usr/bin/sort.again etc/.wh.moved.conf etc/default srv
tar --delete -f two.tar usr/bin/sort
umoci raw add-layer --image image:demo two.tar

rm -r bundle
umoci unpack --image image:demo bundle
(cd bundle/rootfs && eval "$2") >expected
rm -r bundle two base.tar two.tar
chown -R "$1" .
