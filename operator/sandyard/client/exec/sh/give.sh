# What is to go before the command, so that it has all its variables: env and words for it, quoted; found while the PATH
# is that of the image.
sandyard_rest=
[ -z "$SANDYARD_RAW_ENV" ] || sandyard_rest="$(command -v env) -- $(sandyard_raw)"
# sandyard_give NAME=VALUE: from here on it is set. "=" and quoted words: those that no shell can set.
sandyard_give() {
  case $1 in
    SANDYARD_EXEC=*) ;;
    =*) sandyard_rest="${sandyard_rest:-$(command -v env) --} ${1#=}" ;;
    *) command export "$1" ;;
  esac
}
