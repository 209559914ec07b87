# The tasks as Windows' task scheduler takes them: the names of elements are those of its schema ([MS-TSCH] 2.5).

# Administrators and the system do everything, users see that the folder is there.
# Any user may make a folder of this name before us; hence an owner and a list of ours.
$TaskFolderSecurity = 'O:BAG:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;GRGX;;;BU)'

# The one right that the user gets on a task is to read it and to start it.
function Get-TaskSecurity {
    param([string] $Sid)
    'O:BAG:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;GRGX;;;{0})' -f $Sid
}

function ConvertTo-XmlText {
    param([string] $Text)
    $Text.Replace('&', '&amp;').Replace('<', '&lt;').Replace('>', '&gt;').Replace('"', '&quot;')
}

function New-TaskXml {
    param([string] $Description, [string] $Triggers, [string] $Principal, [string] $Instances, [string] $Limit, [hashtable] $Action, [string] $Folder)
    $lines = @(
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">'
        '<RegistrationInfo><Author>wslmesh</Author><Description>{0}</Description></RegistrationInfo>' -f (ConvertTo-XmlText -Text $Description)
        '<Triggers>{0}</Triggers>' -f $Triggers
        '<Principals><Principal id="Author">{0}</Principal></Principals>' -f $Principal
        '<Settings>'
        '<MultipleInstancesPolicy>{0}</MultipleInstancesPolicy>' -f $Instances
        '<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>'
        '<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>'
        '<AllowHardTerminate>true</AllowHardTerminate>'
        '<StartWhenAvailable>false</StartWhenAvailable>'
        '<RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>'
        '<AllowStartOnDemand>true</AllowStartOnDemand>'
        '<Enabled>true</Enabled>'
        '<Hidden>false</Hidden>'
        '<RunOnlyIfIdle>false</RunOnlyIfIdle>'
        '<WakeToRun>false</WakeToRun>'
        '<ExecutionTimeLimit>{0}</ExecutionTimeLimit>' -f $Limit
        # 7, the default, is below what people's own programs run with.
        '<Priority>5</Priority>'
        '</Settings>'
        '<Actions Context="Author"><Exec>'
        '<Command>{0}</Command>' -f (ConvertTo-XmlText -Text $Action.Program)
        '<Arguments>{0}</Arguments>' -f (ConvertTo-XmlText -Text $Action.Arguments)
        '<WorkingDirectory>{0}</WorkingDirectory>' -f (ConvertTo-XmlText -Text $Folder)
        '</Exec></Actions>'
        '</Task>'
    )
    $lines -join "`r`n"
}

# SYSTEM runs it, so that an account without administrator rights can have it, and
# nothing in that account's environment reaches it.
function Get-ForwardTaskXml {
    param([string] $Sid, [hashtable] $Action, [hashtable] $Places)
    New-TaskXml -Description ('Makes the port forwards that were agreed to for ' + $Sid) -Triggers '' -Principal '<UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel>' -Instances 'Queue' -Limit 'PT1M' -Action $Action -Folder $Places.System
}

function Get-LogonTaskXml {
    param([string] $Sid, [hashtable] $Action, [hashtable] $Places)
    $trigger = '<LogonTrigger><Enabled>true</Enabled><UserId>{0}</UserId></LogonTrigger>' -f $Sid
    $principal = '<UserId>{0}</UserId><LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel>' -f $Sid
    New-TaskXml -Description ('Starts the distribution and keeps it, for ' + $Sid) -Triggers $trigger -Principal $principal -Instances 'IgnoreNew' -Limit 'PT0S' -Action $Action -Folder $Places.System
}
