# ptybridge's marks for zsh 5.3 and later: where prompts, commands and their output begin and end (OSC 133, OSC 633).
#
# zsh finds this file because ZDOTDIR points here. It puts ZDOTDIR back at once, so that zsh reads all other files from
# where the user has them, and settles in at the first prompt, after all of them. Descriptor 9 brings the nonce that
# makes marks trusted, then the user's ZDOTDIR behind a "=", or nothing when it was not set.

{ IFS= builtin read -r __ptyb_nonce; IFS= builtin read -r __ptyb_home } <&9 2>/dev/null
exec 9<&-
if [[ $__ptyb_home == '='* ]]; then
  builtin export ZDOTDIR="${__ptyb_home#=}"
else
  builtin unset ZDOTDIR
fi
builtin unset __ptyb_home
if [[ -r ${ZDOTDIR-$HOME}/.zshenv ]]; then
  builtin source "${ZDOTDIR-$HOME}/.zshenv"
fi

if [[ -o interactive && -n ${__ptyb_nonce-} ]]; then
  # As VS Code escapes (https://code.visualstudio.com/docs/terminal/shell-integration): no control character, no `;`.
  __ptyb_escape() {
    builtin emulate -L zsh
    local text=${1[1,8192]}
    text=${text//\\/\\x5c}
    text=${text//;/\\x3b}
    text=${text//$'\n'/\\x0a}
    text=${text//$'\r'/\\x0d}
    text=${text//$'\e'/\\x1b}
    text=${text//$'\a'/\\x07}
    typeset -g __ptyb_text=${text//[[:cntrl:]]/ }
  }

  __ptyb_emit() { { builtin print -rn -- "$1" >/dev/tty } 2>/dev/null || : }

  __ptyb_precmd() {
    local code=$?
    builtin emulate -L zsh
    local old=$__ptyb_n key
    (( ++__ptyb_n ))
    key="ptyb=$__ptyb_nonce:$__ptyb_n"
    __ptyb_escape "$PWD"
    local marks=$'\e]133;D;'"$code;ptyb=$__ptyb_nonce:$old"$'\a\e]633;P;Cwd='"$__ptyb_text;$key"$'\a\e]133;A;'"$key"$'\a'
    (( __ptyb_line_hook )) || marks+=$'\e]133;B;early;'"$key"$'\a'
    __ptyb_emit "$marks"
  }

  __ptyb_preexec() {
    builtin emulate -L zsh
    local key="ptyb=$__ptyb_nonce:$__ptyb_n" line=${1:-$3}
    # A leading space keeps a line out of the user's history, and so out of ours.
    [[ $line == ' '* && $__ptyb_ignore_space == on ]] && line=
    __ptyb_escape "$line"
    __ptyb_emit $'\e]633;E;'"$__ptyb_text;$key"$'\a\e]133;C;'"$key"$'\a'
  }

  __ptyb_notice_options() {
    if [[ -o hist_ignore_space ]]; then typeset -g __ptyb_ignore_space=on; else typeset -g __ptyb_ignore_space=off; fi
  }

  __ptyb_line_init() {
    [[ ${CONTEXT-start} == start ]] && __ptyb_emit $'\e]133;B;ptyb='"$__ptyb_nonce:$__ptyb_n"$'\a'
    return 0
  }

  __ptyb_setup() {
    local code=$?
    typeset -gi __ptyb_n=0 __ptyb_line_hook=0
    precmd_functions=(${precmd_functions:#__ptyb_setup} __ptyb_precmd)
    preexec_functions+=(__ptyb_notice_options __ptyb_preexec)
    # Not in PS1, which may be exported, and which themes build anew.
    if autoload -Uz add-zle-hook-widget 2>/dev/null && add-zle-hook-widget line-init __ptyb_line_init 2>/dev/null; then
      __ptyb_line_hook=1
    fi
    (exit $code)
    __ptyb_precmd
  }

  typeset -ga precmd_functions preexec_functions
  precmd_functions+=(__ptyb_setup)
fi
