# Where links lead. Says two things of each file: what it leads to, or nothing where it is no link, and the mode of what
# is there; and of each folder where it really is. Each ends with a zero.
fail() { echo "$1" >&2; exit 1; }
say() { printf '%s\000' "$1"; }
# files PATH...
files() {
  for p; do
    l=
    if [ -L "$p" ]; then
      l=$(readlink -f -- "$p" && echo .) || fail "$p: a link that leads nowhere: No such file or directory"
      l=${l%.}
      l=${l%?}
    fi
    q=${l:-$p}
    [ ! -d "$q" ] || fail "$p: Is a directory"
    [ ! -e "$q" ] || [ -f "$q" ] || fail "$p: not a plain file"
    say "$l"
    say "$([ ! -e "$q" ] || stat -c %a -- "$q" 2>/dev/null)"
  done
}
# folders FOLDER...
folders() {
  for p; do
    case $p in /*) ;; *) p=./$p ;; esac
    cd -P -- "$p" || exit
    say "$PWD"
    cd -- "$here" || exit
  done
}
here=$PWD
