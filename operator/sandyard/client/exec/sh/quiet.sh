# _sandyard_quiet FLAGS: "set -x" and "set -v" are for what the session is given, and not for the lines around it; nor is
# "set -a", by which each command would get all that these lines set, the text among it.
_sandyard_quiet() {
  "$_sandyard_builtin" set +axv
  _sandyard_loud=""
  case $1 in *x*) _sandyard_loud=x ;; esac
  case $1 in *v*) _sandyard_loud=${_sandyard_loud}v ;; esac
  case $1 in *a*) _sandyard_loud=${_sandyard_loud}a ;; esac
  case $_sandyard_loud in "") return 0 ;; esac
  _sandyard_loud="{ set -$_sandyard_loud; _sandyard_last && :; } 2>/dev/null
"
}
