# sandyard_not COMMAND WHY CODE: what cannot be run is told in words of our own: the shell's would name this script.
sandyard_not() {
  printf '%s: %s\n' "$1" "$2" >&2
  exit "$3"
}

# sandyard_interpreter SCRIPT, in a shell of its own: that it has one, which a shell would only call "not found" as if the script were not there.
sandyard_interpreter() {
  a=
  [ ! -r "$1" ] || IFS=" " read -r a b _ <"$1" || :
  case $a in
    '#!') a=$b ;;
    '#!'*) a=${a#??} ;;
    *) return 0 ;;
  esac
  [ -e "${a:-/}" ] || sandyard_not "$1" "its interpreter $a is not there" 127
}

# sandyard_check PROGRAM: that it can be run; else this shell ends.
sandyard_check() {
  case $1 in
    */*)
      [ -e "$1" ] || sandyard_not "$1" "no such file" 127
      [ -x "$1" ] && [ ! -d "$1" ] || sandyard_not "$1" "permission denied" 126
      case $1 in /bin/* | /usr/*) ;; *) (sandyard_interpreter "$1") || exit ;; esac
      ;;
    *) command -v -- "$1" >/dev/null || sandyard_not "$1" "command not found" 127 ;;
  esac
}

# sandyard_own WORD: whether it is a shell's own, and no program: that is run by one that says nothing of our scripts.
sandyard_own() {
  case $1 in
    [.:] | alias | bg | break | cd | command | continue | eval | exec | exit | export | fc | fg | getopts | hash | jobs | \
      read | readonly | return | set | shift | times | trap | type | ulimit | umask | unalias | unset | wait) ;;
    *) return 1 ;;
  esac
}
