/** `weft completion`: scripts that ask `weft __complete` (complete.ts) at every Tab, so that they never go stale. */

import { Exit, Failure } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { print } from "../terminal.ts"
import type { specs } from "./table.ts"

const bash = `# bash completion for weft. Load it with: source <(weft completion bash)
_weft() {
  local line word colons="" weft="\${COMP_WORDS[0]/#\\~/$HOME}"
  local -a words=()
  # bash cuts words at colons: NODE:IF and unix:PATH are put together again, and it wants back what stands behind the last.
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ \${#words[@]} -gt 0 && ( $word == :* || \${words[-1]} == *: ) ]]; then
      words[-1]+=$word
    else
      words+=("$word")
    fi
  done
  [[ $COMP_WORDBREAKS == *:* ]] && colons="\${words[-1]%"\${words[-1]##*:}"}"
  COMPREPLY=()
  while IFS= read -r line; do
    line="\${line%%$'\\t'*}"
    COMPREPLY+=("\${line#"$colons"}")
  done < <("$weft" __complete "\${words[@]}" 2>/dev/null)
  if [[ \${COMPREPLY[0]} == :path ]]; then
    COMPREPLY=()
    compopt -o default 2>/dev/null
  elif [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == */ ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _weft weft
`

const zsh = `#compdef weft
# zsh completion for weft. Put it into a folder of $fpath as _weft, or: source <(weft completion zsh)
_weft() {
  local line value about tab=$'\\t' weft="\${words[1]/#\\~/$HOME}"
  local -a described folders
  while IFS= read -r line; do
    value="\${line%%$tab*}"
    about=""
    [[ $line == *$tab* ]] && about="\${line#*$tab}"
    if [[ $value == :path ]]; then
      _files
      return
    elif [[ $value == */ ]]; then
      folders+=("$value")
    else
      described+=("\${value//:/\\\\:}\${about:+:$about}")
    fi
  done < <("$weft" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#folders} )) && compadd -S '' -a folders
  (( \${#described} )) && _describe -V weft described
}
if [[ $funcstack[1] == _weft ]]; then
  _weft "$@"
else
  compdef _weft weft
fi
`

const fish = `# fish completion for weft. Put it into ~/.config/fish/completions/weft.fish, or: weft completion fish | source
function __weft_complete
  set -l words (commandline -opc)
  set -l weft $words[1]
  set -e words[1]
  set -l candidates ($weft __complete $words (commandline -ct | string collect --allow-empty) 2>/dev/null)
  if test "$candidates[1]" = ":path"
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $candidates
  end
end
complete -c weft -f -a '(__weft_complete)'
`

const scripts: Readonly<Record<string, string>> = { bash, zsh, fish }

export const run = async (input: InputOf<typeof specs.completion>, _context: Context): Promise<number> => {
  const script = scripts[input.shell]
  if (script === undefined) throw new Failure(Exit.usage, `No completion for "${input.shell}": bash, zsh and fish are known`)
  print(script)
  return Exit.done
}
