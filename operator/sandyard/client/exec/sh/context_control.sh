# context-control ID WORD: the interpreter of the context is ended with what it has started, and a new one begins
# ("restart"), or the context goes ("remove"). What keeps it may be gone too.
d=/tmp/.sandyard/contexts/$1
# Whose folder is gone, by whatever ran here: nobody can reach its interpreter.
[ -p "$d/control" ] || { sandyard_end "$1" KILL 0; rm -rf "$d"; exit 44; }
read -r p <"$d/pid"
sandyard_end "$1" KILL 0
n=0
until [ -e "$d/exit" ] || [ $n -ge 30 ]; do
  n=$((n + 1))
  sleep 0.1 || sleep 1
done
[ -e "$d/exit" ] || { rm -rf "$d"; exit 45; }
[ "$2" != restart ] || rm -f "$d/pid"
echo "$2" 1<>"$d/control"
n=0
until { [ "$2" = remove ] && [ ! -d "$d" ]; } || { [ "$2" = restart ] && [ -e "$d/pid" ]; } || [ $n -ge 30 ]; do
  n=$((n + 1))
  sleep 0.1 || sleep 1
done
[ $n -lt 30 ] || { rm -rf "$d"; exit 45; }
