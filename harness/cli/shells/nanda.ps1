# Completion of nanda in PowerShell. Made by `nanda completion powershell`; to use it in each new
# shell, add this line to $PROFILE: nanda completion powershell | Out-String | Invoke-Expression
$global:NandaRows = '@TABLE@' -split '\r?\n' | ForEach-Object { , ($_ -split "`t") }

Register-ArgumentCompleter -Native -CommandName nanda, nanda.exe -ScriptBlock {
    param($typed, $ast, $position)
    $line = $ast.ToString()
    $line = $line.Substring(0, [Math]::Min($line.Length, $position - $ast.Extent.StartOffset))
    $line = $line.PadRight($position - $ast.Extent.StartOffset) -replace '^\s*\S+\s+', ''
    $word = ($line -split '[\s"'']')[-1]
    $words = @($line.Substring(0, $line.Length - $word.Length) -split '[\s"'']+' | Where-Object { $_ })
    $key = 'line'; $second = ''; $previous = ''
    foreach ($each in $words) {
        if ($key -eq 'line') { if ($each -match '^(/.*|mcp|completion)$') { $key = $each } }
        elseif (-not $second -and -not $each.StartsWith('-')) { $second = $each }
        if ($previous -eq 'save' -and $each -eq 'to') { $each = '-o' }
        $previous = $each
    }
    $contexts = $global:NandaRows | ForEach-Object { $_[0] } | Select-Object -Unique
    if ($second -and $contexts -contains "$key $second") { $key = "$key $second" }
    if ($previous -eq '-o') { $key = '-o' }
    foreach ($context in "$key $previous", "* $previous") {
        if ($previous.StartsWith('--') -and $contexts -contains $context) { $key = $context; break }
    }
    # PowerShell replaces the whole word, which is a line if it is within quotes.
    $quote = if ($typed -match '^["'']') { $typed.Substring(0, 1) } else { '' }
    $before = $typed.Substring(0, [Math]::Max($typed.Trim('"', "'").Length - $word.Length, 0) + $quote.Length)
    if ($quote -and -not $before.StartsWith($quote)) { $before = "$quote$before" }
    $rows = $global:NandaRows | Where-Object { $_[0] -eq $key }
    if ($rows | Where-Object { $_[1] -eq ':general' }) {
        $rows = @($rows) + @($global:NandaRows | Where-Object { $_[0] -eq '*' })
    }
    foreach ($row in $rows) {
        $candidate = $row[1]
        if ($candidate -eq ':paths' -and -not $word.StartsWith('-')) {
            foreach ($path in [Management.Automation.CompletionCompleters]::CompleteFilename($word)) {
                $path = $path.CompletionText.Trim("'") -replace '^\.[\\/]', ''
                [Management.Automation.CompletionResult]::new("$before$path$quote", $path, 'ParameterValue', $path)
            }
        } elseif ($candidate.StartsWith($word) -and -not $candidate.StartsWith(':') -and
            ($word.StartsWith('-') -or -not $candidate.StartsWith('-'))) {
            $about = if ($row[2]) { $row[2] } else { $candidate }
            [Management.Automation.CompletionResult]::new("$before$candidate$quote", $candidate, 'ParameterValue', $about)
        }
    }
}
