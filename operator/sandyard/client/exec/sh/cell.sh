# cell FOLDER ID: the input is a cell of the context ID. It gets a folder, is handed to the interpreter, and ended if
# this is ended (TERM): the interpreter is interrupted then, and killed if that is not enough.
_sy_c=$1 _sy_d=/tmp/.sandyard/contexts/$2
umask 077
mkdir -p "$_sy_c/artifacts" && cd "$_sy_c" && cat >cell || exit 125
mkfifo end && exec 6<>end || exit 125
# From here on the shell that keeps the interpreter finds it.
echo "$2" >context
_sy_k=
read -r _sy_k 2>/dev/null <"$_sy_d/pid"
if [ -e "$_sy_d/exit" ] || ! kill -0 "$_sy_k" 2>/dev/null; then
  head -c 20 "$_sy_d/exit" 2>/dev/null >lost || echo 137 >lost
  exit 1
fi
read -r _sy_l <"$_sy_d/language"
_sy_q="$$ $PWD"
# As of a Shell: in a function, which catches a "return" where the shell is not bash, "set --" would be forgotten.
_sy_e="</dev/null >\"\$_sandyard_out\" 2>\"\$_sandyard_err\""
[ "$_sy_l" != bash ] || _sy_q="_sandyard_take $_sy_q; case \${BASH_VERSION-}-\$_sandyard_text in \
-*return*) _sandyard_last && :; _sandyard_call $_sy_e ;; \
-*) _sandyard_last && :; command eval \"\$_sandyard_loud\$_sandyard_text\" $_sy_e ;; \
*) \"\$_sandyard_builtin\" . \"\$_sandyard_context/line.sh\" $_sy_e ;; \
esac; _sandyard_end \"\$?\" \"\$-\" || exit 1
"
# The interpreter opens these two: 1 and 2 are elsewhere while this shell itself writes into a file.
exec 8>&1 9>&2
# Who waits for the end is not ended by what ends this.
trap '' TERM HUP
{
  TMOUT= IFS= read -r _sy_r <&6
  case $_sy_r in
    [0-9] | [0-9][0-9] | [0-9][0-9][0-9]) exit "$_sy_r" ;;
  esac
  # The end of an interpreter is told before it is known here.
  head -c 20 "$_sy_d/exit" >ended || echo 137 >ended
  exit 1
} 2>/dev/null &
_sy_w=$!
# sandyard_over TENTHS: whether the cell ends within that time; as long as it does not, 6 is read.
sandyard_over() {
  sandyard_tenths
  _sy_b=$u
  while [ -e "/proc/$_sy_w/fd/6" ]; do
    [ $((u - _sy_b)) -lt "$1" ] || return 1
    sleep 0.1 || sleep 1
    sandyard_tenths
  done
}
sandyard_stop() {
  trap '' TERM HUP
  command : >cancelled
  # The cell may have taken its folder away.
  [ -e begun ] || [ ! -e cell ] || exit 1
  _sy_i=${_sy_c##*/}
  sandyard_interrupt "$_sy_d" "$_sy_i"
  _sy_n=0
  until sandyard_over 4; do
    _sy_n=$((_sy_n + 1))
    # What it waits for may be a program that it has started.
    case $_sy_n:$_sy_l in
      2:python) for _sy_p in $(sandyard_children "$_sy_k"); do kill -s INT "$_sy_p"; done ;;
      [123]:bash) sandyard_strike "$_sy_d" "$_sy_i" TERM ;;
      [456]:bash) sandyard_strike "$_sy_d" "$_sy_i" KILL ;;
      7:*) kill -s KILL "$_sy_k" ;;
      9:*) break ;;
    esac
  done
  wait "$_sy_w"
  exit
} 2>/dev/null
trap sandyard_stop TERM HUP
printf '%s\n' "$_sy_q" 1<>"$_sy_d/queue"
wait "$_sy_w"
