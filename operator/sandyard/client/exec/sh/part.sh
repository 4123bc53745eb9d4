# part PATH FROM BYTES: so many bytes of a file from that one on; the first is 1.
[ ! -p "$1" ] && [ ! -S "$1" ] || { echo "$1: not a plain file" >&2; exit 1; }
[ ! -d "$1" ] || { echo "$1: Is a directory" >&2; exit 1; }
exec <"$1" || exit 1
# In a pipe the end of tail would be lost. That nobody reads on (SIGPIPE) is none of its failures.
exec 4>&1
r=$({ { tail -c "+$2"; echo $? >&3; } | head -c "$3" >&4; } 3>&1)
case $r in 0 | 141) ;; *) exit 1 ;; esac
