# environment: NAME=VALUE lines of what there is.
say() { printf '%s=%s\n' "$1" "$2"; }
[ ! -r /etc/os-release ] || say os "$(. /etc/os-release && echo "$PRETTY_NAME")"
say kernel "$(uname -sr)"
say arch "$(uname -m)"
say hostname "$(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)"
read -r u _ </proc/uptime && say uptime "$u"
say user "$(id -u)"
say folder "$PWD"
while read -r k v _; do case $k in MemTotal:) say memory "$v" ;; esac; done </proc/meminfo
say processors "$(nproc 2>/dev/null || grep -c ^processor /proc/cpuinfo)"
for t in python3 node bun deno go rustc ruby gcc git bash tar; do
  command -v $t >/dev/null || continue
  case $t in go) v=$(go version) ;; *) v=$($t --version 2>&1) ;; esac
  say "tool.$t" "$(echo "$v" | while read -r l; do echo "$l"; break; done)"
done
df -Pk /workspace /tmp 2>/dev/null | while read -r _ s u f _ m; do [ "$m" = on ] || [ "$m" = Mounted ] || say "disk.$m" "$s $u $f"; done
