# Every process: four fields of its status and its command line, each of the two ended by a zero.
for d in /proc/[0-9]*; do
  read -r s <"$d/stat" || continue
  a=$(tr '\000' ' ' <"$d/cmdline") || continue
  printf '%s\000%s\000' "$s" "$a"
done 2>/dev/null
