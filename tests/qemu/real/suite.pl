# Runs files of perl's core tests, by patterns (with "-" in front: not those), and says what became of each test: a line
# "@@ ok FILE NUMBER" or "@@ fail FILE NUMBER", "@@ why" with the line of the failure behind it, and "@@ end" at the end.
use strict;
use warnings;

$| = 1;
chdir '/usr/src/perl/t' or die "no tests: $!";
my %not = map { /^-(.*)/ ? ($1 => 1) : () } @ARGV;
for my $file (grep { !$not{$_} } map { /^-/ ? () : glob } @ARGV) {
    my $pid = open(my $lines, '-|');
    defined $pid or die "fork: $!";
    if (!$pid) {
        open STDIN, '<', '/dev/null';
        open STDERR, '>', '/dev/null';
        setpgrp;
        exec $^X, $file;
        die "exec: $!";
    }
    while (my $line = <$lines>) {
        if ($line =~ /^ok (\d+)(.*)/) {
            print "@@ ok $file $1\n" unless $2 =~ /# *(skip|todo)/i;
        } elsif ($line =~ /^not ok (\d+)(.*)/) {
            print "@@ fail $file $1\n@@ why $2\n" unless $2 =~ /# *todo/i;
        }
    }
    close $lines;
    # What a file has left behind goes with it.
    kill 'KILL', -$pid;
    print $? == 0 ? "@@ ok $file end\n" : "@@ fail $file end\n@@ why status $?\n";
}
print "@@ end\n";
