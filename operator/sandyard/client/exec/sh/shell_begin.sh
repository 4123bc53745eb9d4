_sandyard_code=0
_sandyard_last() { return "$_sandyard_code"; }
_sandyard_end() {
  _sandyard_code=$?
  printf '\000%s:%s\000' "$1" "$_sandyard_code"
  printf '\000%s:%s\000' "$1" "$_sandyard_code" >&2
}
# Not every shell survives what it cannot parse.
_sandyard_check() {
  [ -n "$BASH_VERSION" ] || /bin/sh -n -c "$1" || { _sandyard_code=2; return 1; }
}
[ ! -r ~/.bashrc ] || . ~/.bashrc >/dev/null 2>&1 </dev/null
