# grep FOLDER MOST OPTIONS PATTERN: lines of plain files below it, each as NAME, zero (or colon), NUMBER, colon, line.
# Exit code 3: the pattern is none.
cd -- "$1" 2>/dev/null || {
  w="No such file or directory"
  if [ -d "$1" ]; then w="Permission denied"; elif [ -e "$1" ]; then w="Not a directory"; fi
  echo "$1: $w" >&2
  exit 1
}
: | grep "-$3" -e "$4" || [ $? = 1 ] || exit 3
z=
: | grep -Z x 2>/dev/null; [ $? = 1 ] && z=Z
# below GREP...: does that to plain files below.
below() {
  find . \( -name .git -o -name node_modules -o -name .cache \) -type d -prune -o -type f -exec "$@" {} + 2>/dev/null
}
if [ -n "$z" ] && command -v xargs >/dev/null; then
  # In UTF-8 a line of another encoding has grep take the file for a binary from there on, or from its beginning. So it
  # is told that all are text, of those that are in the locale where every byte is a character: all without zeros.
  below grep "-lZa$3" -e "$4" -- | LC_ALL=C xargs -0 grep -lIZ -e '' -- | xargs -0 grep "-nHaZ$3" -e "$4" --
else
  below grep "-nHI$z$3" -e "$4" --
fi 2>/dev/null | head -n "$2"
