# The order, and the question that the person is asked.

function ConvertTo-Order {
    param([string] $Text)
    $order = ConvertFrom-RequestText -Text $Text -Place 'order'
    Assert-Fields -Object $order -Place 'order' -Names @('version', 'action', 'ticket', 'user', 'answer-until', 'agreed', 'policy', 'files')
    Assert-Version -Value $order.'version' -Place 'order.version'
    [void] (ConvertTo-Choice -Value $order.'action' -Choices @('install', 'uninstall') -Place 'order.action')
    Assert-Form -Value $order.'user' -Pattern $SidPattern -Place 'order.user'
    Assert-Switch -Value $order.'agreed' -Place 'order.agreed'
    if (($order.'ticket' -isnot [int]) -or ($order.'ticket' -lt 1)) {
        throw (New-InvalidRequest -Message 'order.ticket: must be a positive integer')
    }
    if (($order.'answer-until' -isnot [int]) -and ($order.'answer-until' -isnot [long])) {
        throw (New-InvalidRequest -Message 'order.answer-until: must be an integer')
    }
    $result = @{
        Action = $order.'action'
        Ticket = $order.'ticket'
        User = $order.'user'
        Until = [long] $order.'answer-until'
        Agreed = $order.'agreed'
        Policy = $null
        Hashes = @{}
    }
    if ($result.Action -ceq 'install') {
        $result.Policy = ConvertTo-PolicyTable -Text (ConvertTo-PolicyText -Value $order.'policy')
        $result.Hashes = ConvertTo-Hashes -Value $order.'files' -Names $InstalledFiles
    }
    $result
}

function Get-QuestionLines {
    param([hashtable] $Order, [string] $UserName, [bool] $SameAccount, [string[]] $Others)
    'wslmesh'
    ''
    if ($Order.Action -ceq 'install') {
        'You are about to install the Windows side of wslmesh {0} for this Windows user:' -f $Order.Policy['package']
    } else {
        'You are about to remove the Windows side of wslmesh for this Windows user:'
    }
    '    {0}' -f $UserName
    '    {0}' -f $Order.User
    if (-not $SameAccount) {
        ''
        'This window runs as another account. What follows is made for the user above.'
    }
    ''
    if ($Order.Action -ceq 'install') {
        'From then on, without further questions, programs of this user may have Windows'
        'make and remove the following, and nothing beyond it:'
        ''
        Get-PolicyWords -Policy $Order.Policy
        ''
        'For this, two programs are put into the folder Program Files\wslmesh, and tasks into'
        'the task scheduler''s folder wslmesh. "wslmesh host uninstall" removes all of it.'
    } else {
        'All port forwards and firewall rules that wslmesh made for this user, its tasks, its'
        'policy and its files are removed. Nothing else is touched.'
    }
    if ($Others.Count -gt 0) {
        'Other Windows users of this machine have wslmesh too ({0}); its programs are shared.' -f $Others.Count
    }
    ''
}
