# run_unit.tcl - runs ONE unit of a Redis-style TCL test-suite against a server
# that is already up, and keeps on going after errors.
#
#   tclsh run_unit.tcl HOST PORT UNIT ?option value ...? -- ?suite option ...?
#
# The working directory must hold the suite's tests/ folder. That folder's own
# test_helper.tcl is loaded for its procs, except for its last part (the
# parallel runner); `test`, `start_server`, `run_solo` and the result channel
# are replaced here:
#   * an exception in a test fails only that test, then the client is renewed;
#   * an exception between two tests is noted, and the next statement runs;
#   * every blocking read and every test has a deadline.
#
# Results are lines on stdout: \x01 STATUS \t NAME \t DETAIL (backslash escapes).

namespace eval ::bench {
    variable opt
    array set opt {force-external 0 read-timeout 20 test-timeout 60 server-pid 0}
    variable depth 0        ;# > 0 inside a test
    variable deadline 0     ;# clock milliseconds; 0: none
    variable event 0
    variable silent 0       ;# failures in a row for want of a reply
    variable saved {}       ;# settings that the running test changed, with their old values
}

proc ::bench::emit {status name {detail ""}} {
    set map [list \\ \\\\ \n \\n \r \\r \t \\t]
    puts stdout "\x01$status\t[string map $map $name]\t[string map $map $detail]"
    flush stdout
}

# ---------------------------------------------------------------- deadlines

proc ::bench::check_deadline {} {
    variable deadline
    if {$deadline && [clock milliseconds] > $deadline} {
        error "bench: the test ran past its deadline"
    }
}

# Wait until channel ch is readable, or raise an error.
proc ::bench::wait_readable {ch} {
    variable event
    variable opt
    variable deadline
    set ms [expr {$opt(read-timeout) * 1000}]
    if {$deadline} {
        set left [expr {$deadline - [clock milliseconds]}]
        if {$left < $ms} {set ms [expr {$left > 0 ? $left : 0}]}
    }
    set event 0
    fileevent $ch readable {set ::bench::event 1}
    set timer [::bench::tcl_after $ms {set ::bench::event 2}]
    vwait ::bench::event
    after cancel $timer
    catch {fileevent $ch readable {}}
    if {$event == 2} {error "bench: no reply in time"}
}

proc ::bench::is_blocking_socket {ch} {
    expr {[string match sock* $ch] && ![catch {fconfigure $ch -blocking} b] && $b}
}

rename after ::bench::tcl_after
proc after {args} {
    if {[llength $args] == 1 && [string is integer -strict [lindex $args 0]]} {
        ::bench::check_deadline
    }
    uplevel 1 [list ::bench::tcl_after {*}$args]
}

# What is in the channel's buffer already is read at once. Otherwise the channel is
# waited for first; a long bulk is then read piece by piece, not blocking.
rename gets ::bench::tcl_gets
proc gets {ch args} {
    if {[string match sock* $ch] && [chan pending input $ch] == 0
        && [::bench::is_blocking_socket $ch] && ![eof $ch]} {
        ::bench::wait_readable $ch
    }
    uplevel 1 [list ::bench::tcl_gets $ch {*}$args]
}

rename read ::bench::tcl_read
proc read {args} {
    lassign $args ch want
    if {![string match sock* $ch] || ($want ne "" && [chan pending input $ch] >= $want)
        || ![::bench::is_blocking_socket $ch]} {
        return [uplevel 1 [list ::bench::tcl_read {*}$args]]
    }
    if {$want == 1} {
        if {![eof $ch]} {::bench::wait_readable $ch}
        return [::bench::tcl_read $ch 1]
    }
    fconfigure $ch -blocking 0
    set data ""
    set code [catch {
        while {$want ne "0"} {
            set part [::bench::tcl_read $ch {*}$want]
            append data $part
            if {$want ne "" && [incr want -[string length $part]] == 0} break
            if {[eof $ch]} break
            ::bench::wait_readable $ch
        }
    } err]
    catch {fconfigure $ch -blocking 1}
    if {$code} {error $err}
    return $data
}

# ------------------------------------------------------- load the suite's own

proc ::bench::parse_args {} {
    variable opt
    global argv
    set ::bench::host [lindex $argv 0]
    set ::bench::port [lindex $argv 1]
    set ::bench::unit [lindex $argv 2]
    set argv [lrange $argv 3 end]
    while {[llength $argv] && [lindex $argv 0] ne "--"} {
        set opt([lindex $argv 0]) [lindex $argv 1]
        set argv [lrange $argv 2 end]
    }
    set argv [concat [list --host $::bench::host --port $::bench::port] \
        [lrange $argv 1 end]]
}
::bench::parse_args

set ::test_server_fd bench
set f [open tests/test_helper.tcl]
set text [::bench::tcl_read $f]
close $f
set cut [string first "\nif \{\$::client\}" $text]
if {$cut < 0} {
    puts stderr "this suite's test_helper.tcl has another shape than expected"
    exit 3
}
eval [string range $text 0 $cut]
unset text

# ------------------------------------------------------------- replacements

proc send_data_packet {fd status data {elapsed 0}} {
    # What the suite's own helpers report (ignored tags, errors)
    if {$status in {ignore skip}} {::bench::emit $status $data}
    if {$status eq "err"} {::bench::emit note $data}
}

if {$::bench::opt(force-external)} {
    rename tags_acceptable ::bench::tags_acceptable
    proc tags_acceptable {tags err_return} {
        upvar $err_return err
        set kept {}
        foreach t $tags {if {$t ne "external:skip"} {lappend kept $t}}
        ::bench::tags_acceptable $kept err
    }
}

# Commands that would take the shared server down are refused here.
rename ::redis::__dispatch__raw__ ::redis::__bench_dispatch__
proc ::redis::__dispatch__raw__ {id method argv} {
    if {$::bench::deadline} ::bench::check_deadline
    set m [string tolower $method]
    if {$m eq "shutdown"
        || ($m eq "debug" && [string tolower [lindex $argv 0]] in
            {segfault panic restart crash-and-recover oom assert sigalrm leak})
        || ($m in {replicaof slaveof} && [string tolower [lindex $argv 0]] ne "no")} {
        error "bench: $method is not sent to a shared server"
    }
    if {$::bench::depth && $m eq "config" && [string tolower [lindex $argv 0]] eq "set"
        && $id != $::bench::admin_id} {
        foreach {param _} [lrange $argv 1 end] {::bench::remember $param}
    }
    uplevel 1 [list ::redis::__bench_dispatch__ $id $method $argv]
}

# A connection of the bench's own, for settings that a failed test left behind. It
# is closed at once: some tests count on being the only client.
set ::bench::admin_id -1
proc ::bench::admin {args} {
    set c [redis $::bench::host $::bench::port 0 $::tls]
    set ::bench::admin_id $::redis::id
    set code [catch {$c {*}$args} result]
    catch {$c close}
    return -code $code $result
}

# Between outermost blocks: the settings and users that the server had at first. (The
# suite's own runner starts a new server for each block.)
set ::bench::settings {}
proc ::bench::reset_server {} {
    variable settings
    if {[catch {set now [::bench::admin config get *]; dict size $now}]} return
    if {$settings eq ""} {
        set settings $now
        return
    }
    dict for {param value} $settings {
        if {[dict exists $now $param] && [dict get $now $param] ne $value} {
            catch {::bench::admin config set $param $value}
        }
    }
    if {[catch {set users [::bench::admin acl users]}]} return
    if {$::bench::opt(force-external)} {
        catch {::bench::admin acl setuser default reset on nopass ~* &* +@all}
    }
    foreach u $users {
        if {$u ne "default"} {catch {::bench::admin acl deluser $u}}
    }
}

proc ::bench::remember {param} {
    variable saved
    if {[dict exists $saved $param]} return
    catch {dict set saved $param [lindex [::bench::admin config get $param] 1]}
}

# Give a client object a new connection, in place: variables that hold it work on.
proc ::bench::renew {client} {
    if {![regexp {redisHandle(\d+)$} $client _ id]} return
    if {![info exists ::redis::addr($id)]} return
    catch {close $::redis::fd($id)}
    lassign $::redis::addr($id) host port
    set ::redis::fd($id) [socket $host $port]
    fconfigure $::redis::fd($id) -translation binary
    set ::redis::blocking($id) 1
    set ::redis::deferred($id) 0
    set ::redis::readraw($id) 0
    ::redis::redis_reset_state $id
    if {!$::singledb} {$client select 9}
}

# After a failed test: unblock the server if need be, renew all level clients.
proc ::bench::recover {} {
    set ::bench::deadline 0
    foreach s $::servers {
        if {![dict exists $s client]} continue
        set c [dict get $s client]
        if {[catch {::bench::renew $c} err]} {
            if {[string match "BUSY*" $err]} {
                catch {$c script kill}
                catch {$c function kill}
            }
        }
        catch {$c client unpause}
    }
    dict for {param value} $::bench::saved {
        catch {::bench::admin config set $param $value}
    }
    set ::bench::saved {}
}

proc test {name code {okpattern undefined} {tags {}}} {
    if {[search_pattern_list $name $::skiptests]} {
        ::bench::emit skip $name
        return
    }
    if {![tags_acceptable [concat $::tags $tags] err]} {
        ::bench::emit ignore "$name: $err"
        return
    }
    ::bench::emit testing $name
    set previous $::cur_test
    set ::cur_test "$name in $::curfile"
    set start [clock milliseconds]
    set outer $::bench::deadline
    if {!$::bench::depth} {
        set ::bench::saved {}
        set ::bench::deadline [expr {$start + $::bench::opt(test-timeout) * 1000}]
    }
    incr ::bench::depth
    set code [catch {uplevel 1 $code} retval]
    incr ::bench::depth -1
    set ::bench::deadline $outer
    set ms [expr {[clock milliseconds] - $start}]
    # codes: 0 ok, 1 error, 2 return; the others would be errors in the suite's runner too
    if {$code in {0 2}} {
        if {$okpattern eq "undefined" || $okpattern eq $retval
            || [string match $okpattern $retval]} {
            ::bench::emit ok $name $ms
        } else {
            ::bench::emit err $name "Expected '$okpattern' to equal or match '$retval'"
            ::bench::recover
        }
        set ::bench::silent 0
    } elseif {[string match "assertion:*" $retval]} {
        set ::bench::silent 0
        ::bench::emit err $name [string range $retval 10 end]
        ::bench::recover
    } else {
        ::bench::emit exception $name $retval
        ::bench::recover
        if {![string match "bench: no reply*" $retval]} {
            set ::bench::silent 0
        } elseif {[incr ::bench::silent] >= 5} {
            ::bench::emit note "five tests in a row got no reply: the unit is given up"
            exit 1
        }
    }
    set ::cur_test $previous
}

# A failing `r` between two tests (mostly set-up) is noted, and that is all.
rename r ::bench::suite_r
proc r {args} {
    if {$::bench::depth} {return [uplevel 1 [list ::bench::suite_r {*}$args]]}
    if {[catch {uplevel 1 [list ::bench::suite_r {*}$args]} result]} {
        ::bench::emit note "r [string range $args 0 80]: $result"
        if {[string match "bench: no reply*" $result] || [string match "I/O error*" $result]} {
            ::bench::recover
        }
        return ""
    }
    return $result
}

# Split a script into its top-level commands.
proc ::bench::statements {script} {
    set out {}
    set buf ""
    foreach line [split $script \n] {
        append buf $line \n
        if {[info complete $buf]} {
            if {[string trim $buf] ne ""} {lappend out $buf}
            set buf ""
        }
    }
    if {[string trim $buf] ne ""} {lappend out $buf}
    return $out
}

# Run a script in the caller's caller, statement by statement.
proc ::bench::run_block {script {level 2}} {
    foreach st [::bench::statements $script] {
        set code [catch {uplevel $level $st} err]
        if {$code == 2} break
        if {$code} {
            set head [string range [string trim $st] 0 70]
            ::bench::emit note "[string map {\n { }} $head]: $err"
            ::bench::recover
        }
    }
}

proc tags {tags code} {
    set tags [string map { \" "" } $tags]
    set ::tags [concat $::tags $tags]
    if {[tags_acceptable $::tags err]} {
        ::bench::run_block $code
    } else {
        ::bench::emit ignore "block: $err"
    }
    set ::tags [lrange $::tags 0 end-[llength $tags]]
}

proc run_solo {name code} {::bench::run_block $code}

proc start_server {options {code undefined}} {
    set overrides {}
    set tags {}
    foreach {option value} $options {
        switch $option {
            overrides {lappend overrides {*}$value}
            tags {set tags [string map { \" "" } $value]}
        }
    }
    set outer_tags $::tags
    set ::tags [concat $::tags $tags]
    if {![tags_acceptable $::tags err]} {
        ::bench::emit ignore "block: $err"
        set ::tags $outer_tags
        return
    }
    if {$code eq "undefined"} {
        set ::tags $outer_tags
        error "bench: start_server without a block can't be had on an external server"
    }
    # A test that starts a server of its own, with a certain file or arguments, tests just these.
    if {$::bench::depth && ([dict exists $options config] || [dict exists $options args])} {
        set ::tags $outer_tags
        error "bench: a server with its own config file or arguments can't be had on an external server"
    }
    set outer_servers $::servers
    if {![llength $outer_servers]} ::bench::reset_server
    set client [redis $::host $::port 0 $::tls]
    catch {if {!$::singledb} {$client select 9}}
    lappend ::servers [dict create host $::host port $::port client $client \
        config [dict create port $::port]]
    if {$::bench::opt(server-pid)} {
        set srv [lindex $::servers end]
        dict set srv pid $::bench::opt(server-pid)
        lset ::servers end $srv
    }
    catch {$client flushall}
    catch {$client function flush}
    set saved {}
    # A block that sets a password: a connection from before it is the way back
    set keeper ""
    if {![llength $outer_servers] && [string match *requirepass* "$overrides $code"]} {
        set keeper [redis $::host $::port 0 $::tls]
    }
    foreach {param value} $overrides {
        if {[catch {
            dict set saved $param [lindex [$client config get $param] 1]
            $client config set $param $value
            if {$param eq "appendonly" && $value eq "yes"} {waitForBgrewriteaof r}
        } err]} {
            ::bench::emit note "override $param $value: $err"
        }
    }
    if {[dict exists $saved requirepass]} {catch {::bench::renew $client}}
    # Inside a test an error is the test's; between tests it is noted, and the block goes on.
    if {$::bench::depth} {
        set failure [catch {uplevel 1 $code} problem]
    } else {
        set failure [catch {::bench::run_block $code} problem]
        if {$failure == 1} {::bench::emit note $problem}
    }
    dict for {param value} $saved {
        set c [expr {$keeper ne "" ? $keeper : "r"}]
        if {[catch {$c config set $param $value} err]} {::bench::emit note "restore $param: $err"}
    }
    if {$keeper ne ""} {
        catch {$keeper config set requirepass ""}
        catch {$keeper close}
    }
    set srv [lindex $::servers end]
    set ::servers [lrange $::servers 0 end-1]
    catch {[dict get $srv client] close}
    if {![llength $::servers]} ::bench::reset_server
    set ::tags $outer_tags
    if {$::bench::depth && $failure == 1} {error $problem}
    return
}

# ---------------------------------------------------------------------- main

set ::curfile tests/$::bench::unit.tcl
info script $::curfile
set f [open $::curfile]
set ::bench::source [::bench::tcl_read $f]
close $f
::bench::run_block $::bench::source 1
::bench::emit done $::bench::unit
exit 0
