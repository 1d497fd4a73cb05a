# Applies the layer $2 to a copy of the tree $1 in the present directory, as whoever unpacks layers does, but with tar. Then runs $3 there.
set -e
export LC_ALL=C
rm -rf merged
cp -a "$1" merged
tar -tf "$2" >names
while IFS= read -r name; do
  case $name in
    */.wh..wh..opq | .wh..wh..opq) find "merged/${name%.wh..wh..opq}" -mindepth 1 -delete ;;
    .wh.*) rm -r "merged/${name#.wh.}" ;;
    */.wh.*) rm -r "merged/${name%/.wh.*}/${name##*/.wh.}" ;;
  esac
done <names
while IFS= read -r name; do
  case $name in
    */) [ -d "merged/$name" ] && [ ! -h "merged/${name%/}" ] || rm -f "merged/${name%/}" ;;
    *) rm -rf "merged/$name" ;;
  esac
done <names
tar -C merged --exclude='.wh.*' --numeric-owner -xpf "$2"
cd merged
eval "$3"
