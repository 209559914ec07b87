# forward.ps1: what the user's side can write, and what WSL has on record.

function Invoke-Hostile {
    param([string] $Text)
    $script:World.Selection = $Text
    $before = Get-WorldText
    $line = Get-TaskText -Sid $script:World.Sid
    $answer = ConvertFrom-Json -InputObject $line
    Assert-Equal -Expected 'invalid-request' -Found $answer.'state'
    Assert-Equal -Expected $before -Found (Get-WorldText)
    foreach ($word in @('Remove-Item', 'calc', '99999', 'secret')) {
        Assert-True -Found (-not $line.Contains($word)) -What ('the answer does not quote ' + $word)
    }
    $answer
}

Test-Case -Name 'a command in every field' -Body {
    $evil = '"; Remove-Item C:\\ -Recurse; calc #"'
    $good = '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}'
    foreach ($field in @('"version":1', '"ticket":7', '"mode":1')) {
        $name = $field.Split(':')[0]
        [void] (Invoke-Hostile -Text $good.Replace($field, $name + ':' + $evil))
    }
    foreach ($entry in @('[' + $evil + ',2222,22,1]', '[6,' + $evil + ',22,1]', '[6,2222,' + $evil + ',1]', '[6,2222,22,' + $evil + ']', $evil)) {
        [void] (Invoke-Hostile -Text $good.Replace('[6,2222,22,1]', $entry))
    }
}

Test-Case -Name 'no form, or nearly' -Body {
    $texts = @('', '{}', '[]', 'null', '{', 'secret',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1],]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1][6,2223,22,1]]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22]]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1,1]]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222.0,22,1]]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,-2222,22,1]]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,02222,22,1]]}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]],"extra":1}',
        '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]} secret',
        "{""version"":1,""ticket"":7,""mode"":1,""forwards"":[[6,2222,22,1]]}`n",
        '{"version":1,"ticket":7,"mode":1}',
        '{"version":1,"ticket":7,"mode":1,"forwards":null}')
    foreach ($text in $texts) {
        [void] (Invoke-Hostile -Text $text)
    }
}

Test-Case -Name 'numbers out of range' -Body {
    $texts = @('{"version":2,"ticket":7,"mode":1,"forwards":[]}',
        '{"version":1,"ticket":0,"mode":1,"forwards":[]}',
        '{"version":1,"ticket":2147483648,"mode":1,"forwards":[]}',
        '{"version":1,"ticket":7,"mode":0,"forwards":[]}',
        '{"version":1,"ticket":7,"mode":3,"forwards":[]}',
        (Get-SelectionSample -Entries '[6,0,22,1]'), (Get-SelectionSample -Entries '[6,2222,0,1]'),
        (Get-SelectionSample -Entries '[6,65536,22,1]'), (Get-SelectionSample -Entries '[6,99999,22,1]'),
        (Get-SelectionSample -Entries '[1,2222,22,1]'), (Get-SelectionSample -Entries '[6,2222,22,0]'),
        (Get-SelectionSample -Entries '[6,2222,22,4]'), (Get-SelectionSample -Entries '[17,51820,51820,1]'),
        (Get-SelectionSample -Entries '[6,2222,22,3]'), (Get-SelectionSample -Entries '[6,2222,22,1],[6,2222,23,1]'))
    foreach ($text in $texts) {
        [void] (Invoke-Hostile -Text $text)
    }
}

Test-Case -Name 'the ticket comes back where the rest is refused' -Body {
    $answer = Invoke-Hostile -Text '{"version":1,"ticket":123,"mode":1,"forwards":"secret"}'
    Assert-Equal -Expected 123 -Found $answer.'ticket'
    $answer = Invoke-Hostile -Text '{"ticket":123,"version":1}'
    Assert-Equal -Expected 0 -Found $answer.'ticket'
}

Test-Case -Name 'too many entries' -Body {
    $entries = @(for ($port = 1; $port -le 2001; $port += 1) { '[6,' + $port + ',22,1]' }) -join ','
    $answer = Invoke-Hostile -Text (Get-SelectionSample -Entries $entries)
    Assert-Equal -Expected 'the request file was changed by another program (more than 2000 entries); the next sync writes it again' -Found $answer.'detail'
}

Test-Case -Name 'an address of the guest that cannot be its own' -Body {
    $wrong = @('', 'x', '172.28.16.1', '172.28.16.0', '172.28.31.255', '172.28.32.5', '10.0.0.1', '127.0.0.1', '0.0.0.0', '172.28.16.5 ', '172.28.16.05',
        '255.255.255.255', '224.0.0.1', '172.28.16.5; Remove-Item', '2886471685', '0xac.28.16.5')
    foreach ($address in $wrong) {
        Reset-World
        $script:World.GuestAddress = $address
        $script:World.Selection = Get-SelectionSample -Entries ''
        [void] (Get-TaskText -Sid $script:World.Sid)
        $script:World.Selection = Get-SelectionSample -Entries '[6,2222,22,1]'
        $before = Get-WorldText
        $answer = ConvertFrom-Json -InputObject (Get-TaskText -Sid $script:World.Sid)
        Assert-Equal -Expected 'guest-address-unknown' -Found $answer.'state'
        Assert-True -Found ($null -eq $answer.'guest-address') -What 'no address is told'
        Assert-Equal -Expected $before -Found (Get-WorldText)
    }
}

Test-Case -Name 'a network of WSL that is none' -Body {
    foreach ($network in @('', '172.28.16.0', '172.28.16.0/0', '172.28.16.0/7', '172.28.16.0/31', '172.28.16.0/99', '0.0.0.0/-1', 'x/20', '172.28.16.0/20/20')) {
        Assert-True -Found ((Find-GuestProblem -Address '172.28.16.5' -Network $network -Gateway '172.28.16.1') -cne '') -What $network
    }
    foreach ($gateway in @('', 'x', '172.28.16')) {
        Assert-True -Found ((Find-GuestProblem -Address '172.28.16.5' -Network '172.28.16.0/20' -Gateway $gateway) -cne '') -What $gateway
    }
}

Test-Case -Name 'addresses that are the guest''s' -Body {
    Assert-Equal -Expected '' -Found (Find-GuestProblem -Address '172.28.16.2' -Network '172.28.16.0/20' -Gateway '172.28.16.1')
    Assert-Equal -Expected '' -Found (Find-GuestProblem -Address '172.28.31.254' -Network '172.28.16.0/20' -Gateway '172.28.16.1')
    Assert-Equal -Expected '' -Found (Find-GuestProblem -Address '10.0.250.2' -Network '10.0.250.1/24' -Gateway '10.0.250.1')
    Assert-Equal -Expected '' -Found (Find-GuestProblem -Address '192.168.255.254' -Network '192.168.255.252/30' -Gateway '192.168.255.253')
}

Test-Case -Name 'standing rules are told where the guest is not known' -Body {
    $script:World.Selection = Get-SelectionSample -Entries '[6,2222,22,1]'
    [void] (Get-TaskText -Sid $script:World.Sid)
    $script:World.GuestAddress = '172.28.16.1'
    $answer = ConvertFrom-Json -InputObject (Get-TaskText -Sid $script:World.Sid)
    Assert-Equal -Expected '1 1' -Found ('{0} {1}' -f $answer.'kept', @($answer.'rules').Count)
}

Test-Case -Name 'a SID is a SID' -Body {
    Assert-True -Found ('S-1-5-21-1-2-3-1001' -cmatch $SidPattern) -What 'a local account'
    Assert-True -Found ('S-1-12-1-4294967295-2-3-4' -cmatch $SidPattern) -What 'an account of Entra'
    foreach ($sid in @('', 'S-1-5-18', 'S-1-5-21-1-2-3', 'S-1-5-21-1-2-3-4-5', 's-1-5-21-1-2-3-4', '..\S-1-5-21-1-2-3-4', 'S-1-5-21-1-2-3-4\x', "S-1-5-21-1-2-3-4`n")) {
        Assert-True -Found ($sid -cnotmatch $SidPattern) -What $sid
    }
}
