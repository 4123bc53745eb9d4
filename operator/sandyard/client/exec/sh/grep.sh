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
find . \( -name .git -o -name node_modules -o -name .cache \) -type d -prune -o -type f \
  -exec grep "-nHI$z$3" -e "$4" -- {} + 2>/dev/null | head -n "$2"
