# context ID LANGUAGE FOLDER NAME=VALUE...: starts the interpreter of a context, which takes cells by the FIFO "queue".
# A shell stays with it: it tells those that wait of the interpreter's end, and starts a new one when it is asked to.
_sy_i=$1 _sy_l=$2 _sy_f=$3
shift 3
_sy_d=/tmp/.sandyard/contexts/$_sy_i
cd "$_sy_f" || exit 125
# The variables are the interpreter's: this shell goes on with the PATH of the image, by which its own tools are found.
# sandyard_find NAME=VALUE... -- PROGRAM...: the first that there is.
sandyard_find() {
  while [ "$1" != -- ]; do sandyard_give "$1" 2>/dev/null; shift; done
  shift
  for _sy_v; do ! command -v "$_sy_v" || break; done
}
_sy_p=
case $_sy_l in
  python) _sy_p=$(sandyard_find "$@" -- python3 python); set -- "$@" -- "$_sy_p" -B "$_sy_d/kernel.py" "$_sy_d" ;;
  javascript) _sy_p=$(sandyard_find "$@" -- node); set -- "$@" -- "$_sy_p" "$_sy_d/kernel.js" "$_sy_d" ;;
  # SIGINT has an interactive bash forget its command and nothing else, however deep in loops that is. Another shell
  # leaves a loop for each signal that it has a trap for; of SIGINT it can have none here.
  bash)
    set -- "$@" --
    if _sy_p=$(command -v bash); then set -- "$@" "$_sy_p" --noediting --noprofile --norc -i; else _sy_p=/bin/sh; set -- "$@" /bin/sh; fi
    case $_sy_p in /bin/sh) _sy_x=USR2 ;; *) _sy_x=INT ;; esac
    echo "$_sy_x" >"$_sy_d/signal"
    ;;
esac
[ -n "$_sy_p" ] || exit 127
_sy_u=$(umask)
umask 077
mkfifo "$_sy_d/control" "$_sy_d/ready" || exit 126
[ "$_sy_l" != javascript ] || mkfifo "$_sy_d/interrupt"
printf '%s\n' "$_sy_l" >"$_sy_d/language"
printf '%s\n' "$PWD" >"$_sy_d/cwd"
date +%s >"$_sy_d/start"

# sandyard_live NAME=VALUE... -- COMMAND...: one life of the interpreter.
sandyard_live() {
  rm -f "$_sy_d/queue" "$_sy_d/exit"
  mkfifo "$_sy_d/queue" || return
  exec 7<>"$_sy_d/queue"
  _sy_in=/dev/null
  if [ "$_sy_l" = bash ]; then
    _sy_in=$_sy_d/queue
    # By its place: a cell may have another PATH, and a function of that name.
    printf "_sandyard_context=%s _sandyard_cat='%s'\nexport SANDYARD_EXEC=%s-child\n" "$_sy_d" "$(command -v cat)" "$_sy_i" >&7
    cat "$_sy_d/kernel.sh" >&7
  fi
  (
    exec <"$_sy_in" 7>&- 8>&-
    umask "$_sy_u"
    trap - INT QUIT
    export SANDYARD_EXEC="$_sy_i"
    # As in run.sh: nothing but the command comes after its variables.
    while [ "$1" != -- ]; do sandyard_give "$1" 2>/dev/null; shift; done
    shift
    [ -z "$sandyard_rest" ] || eval "set -- $sandyard_rest \"\$@\""
    exec "$@"
  ) &
  _sy_k=$!
  echo $_sy_k >"$_sy_d/pid"
  echo $_sy_k 1<>"$_sy_d/ready"
  { wait $_sy_k; } 2>/dev/null
  echo $? >"$_sy_d/exit.new"
  mv -f "$_sy_d/exit.new" "$_sy_d/exit"
  exec 7<&-
  for _sy_c in /tmp/.sandyard/code/*/context; do
    read -r _sy_x <"$_sy_c" && [ "$_sy_x" = "$_sy_i" ] && [ -p "${_sy_c%context}end" ] || continue
    echo lost 1<>"${_sy_c%context}end"
  done
}

# sandyard_keep NAME=VALUE... -- COMMAND...: one life after the other, each when it is asked for.
sandyard_keep() {
  exec 8<>"$_sy_d/control"
  while sandyard_live "$@"; TMOUT= read -r _sy_x <&8; do
    [ "$_sy_x" = restart ] || break
  done
  rm -rf "$_sy_d"
}

exec 9<>"$_sy_d/ready"
# Redirections of a function would be undone, so that its shell would hold the streams of this exec.
{
  exec </dev/null >/dev/null 2>&1 9>&-
  sandyard_keep "$@"
} &
TMOUT= read -r _sy_x <&9
