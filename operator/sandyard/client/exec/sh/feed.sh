# sandyard_feed: so much of 3 becomes the input, after a line with the pid of this very shell. Some images have no head.
# mksh holds the pipe by a number of its own for as long as it writes to one, which nothing but an exec lets go.
sandyard_feed() {
  sh -c 'echo $PPID'
  if command -v head >/dev/null; then SANDYARD_EXEC=- head -c "$_sy_n"; else SANDYARD_EXEC=- dd bs=1 count="$_sy_n"; fi <&3
  exec >/dev/null
  # shellcheck disable=SC3044
  [ -z "$KSH_VERSION" ] || SANDYARD_EXEC=- exec sh -c "$(typeset -f);_sy_m=$_sy_m;sandyard_gone" 3<&3
  sandyard_gone
}
