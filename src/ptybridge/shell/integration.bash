# ptybridge's marks for bash 3.2 and later: where prompts, commands and their output begin and end (OSC 133, OSC 633).
#
# It stands in for ~/.bashrc (`--rcfile`) and reads the user's files itself. Descriptor 9 brings the nonce that makes
# marks trusted, then "login" or nothing; both are gone before a file of the user's runs. The nonce is never exported,
# nor part of PS1, which often is. Everything here must hold under `set -u` and `set -e`, and leave `$?` alone.

{ IFS= read -r __ptyb_nonce; IFS= read -r __ptyb_login; } <&9 2>/dev/null
exec 9<&-

if [[ ${__ptyb_login-} == login ]]; then
  # What bash itself does for a login shell: bash(1), INVOCATION.
  [[ -r /etc/profile ]] && . /etc/profile
  if [[ -r ~/.bash_profile ]]; then . ~/.bash_profile
  elif [[ -r ~/.bash_login ]]; then . ~/.bash_login
  elif [[ -r ~/.profile ]]; then . ~/.profile
  fi
elif [[ -r ~/.bashrc ]]; then
  . ~/.bashrc
fi
unset __ptyb_login
# Under `set -a` what is assigned or defined is exported; nothing of this may be.
case $- in *a*) __ptyb_all=-a ;; *) __ptyb_all=+a ;; esac
set +a

# As VS Code escapes (https://code.visualstudio.com/docs/terminal/shell-integration): no control character, no `;`.
__ptyb_escape() {
  local text=${1:0:8192} to
  to='\x5c'; text=${text//\\/$to}
  to='\x3b'; text=${text//;/$to}
  to='\x0a'; text=${text//$'\n'/$to}
  to='\x0d'; text=${text//$'\r'/$to}
  to='\x1b'; text=${text//$'\033'/$to}
  to='\x07'; text=${text//$'\007'/$to}
  __ptyb_text=${text//[$'\001'-$'\037']/ }
}

# The newest entry of the history, as number and text, so that a line the history did not take is noticed.
__ptyb_newest() {
  local entry
  entry=$(HISTTIMEFORMAT= builtin history 1 2>/dev/null) || entry=
  entry=${entry#"${entry%%[![:space:]]*}"}
  __ptyb_entry=${entry%%[!0-9]*}
  entry=${entry#"$__ptyb_entry"}
  __ptyb_line=${entry:2}
}

__ptyb_started() {
  local kept="${__ptyb_entry-}:${__ptyb_line-}" same=
  __ptyb_newest
  [[ $kept == "$__ptyb_entry:$__ptyb_line" ]] && same=';same'
  __ptyb_escape "$__ptyb_line"
  builtin printf '\033]633;E;%s;ptyb=%s:%s%s\007\033]133;C;ptyb=%s:%s\007' \
    "$__ptyb_text" "$__ptyb_nonce" "$__ptyb_n" "$same" "$__ptyb_nonce" "$__ptyb_n"
}

__ptyb_first() {
  __ptyb_status=$?
  case $- in *e*) return 0 ;; esac
  return "$__ptyb_status"
}

__ptyb_last() {
  local key now='' old=$__ptyb_n
  __ptyb_n=$((__ptyb_n + 1))
  key="ptyb=$__ptyb_nonce:$__ptyb_n"
  __ptyb_escape "$PWD"
  __ptyb_b=$'\033]133;B;'$key$'\007'
  export -n __ptyb_b
  # Without promptvars nothing in PS1 is expanded; then the prompt counts as shown a little early.
  shopt -q promptvars || now=$'\033]133;B;early;'$key$'\007'
  { builtin printf '\033]133;D;%s;ptyb=%s:%s\007\033]633;P;Cwd=%s;%s\007\033]133;A;%s\007%s' \
    "${__ptyb_status:-0}" "$__ptyb_nonce" "$old" "$__ptyb_text" "$key" "$key" "$now" >/dev/tty; } 2>/dev/null || :
  __ptyb_newest
  # Prompts that are built anew each time (starship) lose what was added; so look each time.
  local shown='\[${__ptyb_b-}\]' begun='$(__ptyb_started)'
  if [[ -n $now ]]; then
    PS1=${PS1-} PS0=${PS0-}
    PS1=${PS1//"$shown"/} PS0=${PS0//"$begun"/}
  else
    case ${PS1-} in
      *"$shown"*) ;;
      *) PS1=${PS1-}$shown ;;
    esac
  fi
  if [[ $__ptyb_trap == no && -z $now ]]; then
    case ${PS0-} in
      *"$begun"*) ;;
      *) PS0=${PS0-}$begun ;;
    esac
  fi
  __ptyb_armed=yes
  case $- in *e*) return 0 ;; esac
  return "${__ptyb_status:-0}"
}

# Before bash 4.4 there is no PS0. The trap does not see a line that is nothing but a subshell: its output is not told
# from its echo then.
__ptyb_debug() {
  [[ ${__ptyb_armed-} == yes ]] || return 0
  __ptyb_armed=
  case $BASH_COMMAND in __ptyb_*) return 0 ;; esac
  { __ptyb_started >/dev/tty; } 2>/dev/null || :
}

if [[ -n ${__ptyb_nonce-} ]]; then
  __ptyb_n=0 __ptyb_b= __ptyb_trap=no __ptyb_entry= __ptyb_line= __ptyb_armed=
  if ((BASH_VERSINFO[0] < 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] < 4))) ||
    [[ -n ${__ptyb_no_ps0-} ]] || ! shopt -q promptvars; then
    __ptyb_trap=yes
    [[ -n $(trap -p DEBUG) ]] || trap '__ptyb_debug' DEBUG
  fi
  case $(declare -p PROMPT_COMMAND 2>/dev/null) in
    'declare -a'*) PROMPT_COMMAND=(__ptyb_first "${PROMPT_COMMAND[@]}" __ptyb_last) ;;
    *) PROMPT_COMMAND="__ptyb_first${PROMPT_COMMAND:+$'\n'$PROMPT_COMMAND}"$'\n__ptyb_last' ;;
  esac
fi
set $__ptyb_all
unset __ptyb_all
