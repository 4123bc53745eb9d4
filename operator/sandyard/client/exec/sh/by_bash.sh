# by-bash TEXT NAME WORD...: runs a script of ours by bash where there is one. In what it begins in the background no
# other shell can undo that SIGINT and SIGQUIT are ignored. As it runs scripts for sh, so that no BASH_ENV is read.
set -- -c "$@"
if _sy_b=$(command -v bash); then set -- "$_sy_b" --posix "$@"; else set -- /bin/sh "$@"; fi
[ -z "$SANDYARD_RAW_ENV" ] || eval "set -- env -- $(sandyard_raw) \"\$@\""
exec "$@"
