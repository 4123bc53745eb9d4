# "set -x" and "set -v" are for what the session is given, and not for the lines around it.
_sandyard_quiet() {
  _sandyard_loud=""
  case $- in *x*) _sandyard_loud=x ;; esac
  case $- in *v*) _sandyard_loud=${_sandyard_loud}v ;; esac
  case $_sandyard_loud in "") return 0 ;; esac
  set +xv
  _sandyard_loud="{ set -$_sandyard_loud; _sandyard_last && :; } 2>/dev/null
"
}
