# unpack FOLDER WAY [OPTIONS]: a tar stream, or where the image has no tar, the plain one: KIND MODE BYTES, a name on a
# line of its own, what a link names likewise (l, h: a second name), the content. OPTIONS are tar's own.
mkdir -p -- "$1" && cd -- "$1" || exit
if [ "$2" = tar ]; then exec tar "-xo$3" -f -; fi
# Some heads read more than they are asked for.
take() { head -c "$1"; }
[ "$(printf ab | { head -c 1 >/dev/null; cat; })" = b ] || take() { dd bs=1 count="$1" 2>/dev/null; }
while read -r k m s && [ "$k" != end ]; do
  IFS= read -r f || exit 1
  case $k in
    d) mkdir -p -- "$f" && chmod "$m" -- "$f" || exit ;;
    l) IFS= read -r l && rm -f -- "$f" && ln -s -- "$l" "$f" || exit ;;
    h) IFS= read -r l && rm -f -- "$f" && ln -- "$l" "$f" || exit ;;
    f) rm -f -- "$f"; take "$s" >"$f" && [ "$(wc -c <"$f")" -eq "$s" ] && chmod "$m" -- "$f" || exit 1 ;;
  esac
done
[ "$k" = end ]
