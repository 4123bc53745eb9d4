# What stands where many files are to be written, and the folders above them are made. Says where it is itself, the
# umask, what unpacks archives, whether it can look; and of each crowd what stat knows. Each ends with a zero.
fail() { echo "$1" >&2; exit 1; }
say() { printf '%s\000' "$1"; }
# found PATH...
found() {
  stat -c '%f %n' -- "$@" 2>/dev/null
  say
}
# made FOLDER...
made() {
  mkdir -p -- "$@" 2>/dev/null || {
    for p; do
      [ ! -e "$p" ] || [ -d "$p" ] || fail "$p: Not a directory"
      [ -e "$p" ] || [ ! -L "$p" ] || fail "$p: a link that leads nowhere: No such file or directory"
    done
    mkdir -p -- "$@" || exit
  }
}
cd -P . || exit
say "$PWD"
say "$(umask)"
if command -v tar >/dev/null; then say tar; else say plain; fi
if command -v stat >/dev/null; then say looks; else say blind; fi
