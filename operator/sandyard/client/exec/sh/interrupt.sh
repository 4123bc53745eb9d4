# sandyard_interrupt FOLDER CELL: ends what the context in that folder runs, if it is that cell ("any": whichever).
sandyard_interrupt() {
  read -r _sy_l <"$1/language"
  read -r _sy_k <"$1/pid"
  case $_sy_l in
    python)
      echo "$2" >"$1/interrupt"
      kill -s INT "$_sy_k"
      ;;
    javascript) echo "$2" 1<>"$1/interrupt" ;;
    *)
      [ "$2" = any ] || [ "$(cat "$1/current")" = "$2" ] || return 0
      sandyard_end "${1##*/}-child" TERM 2
      ;;
  esac
} 2>/dev/null
