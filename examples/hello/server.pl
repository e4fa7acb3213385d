#!/usr/bin/perl
# Serves the pages in `site/` on `PORT`: the service of the example app. It needs nothing but the Perl that every Debian has.
use strict;
use warnings;
use IO::Socket::INET;

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{PORT}, Listen => 128, ReuseAddr => 1)
    or die "cannot listen on $ENV{PORT}: $@\n";
$| = 1;
print "$ENV{HOST} serves $ENV{RELEASE} on port $ENV{PORT}\n";
$SIG{CHLD} = 'IGNORE';
while (1) {
    my $visitor = $listener->accept or next;
    my $child = fork;    # one process a visitor
    next if !defined $child or $child;
    answer($visitor);
    exit;
}

sub answer {
    my ($visitor) = @_;
    alarm 10;
    my $request = <$visitor> // return;
    while (defined(my $line = <$visitor>)) { last if $line =~ /^\r?\n$/ }
    my ($method, $path) = split ' ', $request;
    my ($status, $kind, $page) = page($path // '/');
    print $visitor "HTTP/1.1 $status\r\nContent-Type: $kind\r\nContent-Length: ${\length $page}\r\n",
        "Release: $ENV{RELEASE}\r\nHost-Name: $ENV{HOST}\r\nConnection: close\r\n\r\n";
    print $visitor $page unless $method eq 'HEAD';
}

# Returns the status, the type and the bytes of what a path names.
sub page {
    my ($path) = @_;
    my ($name) = $path =~ m{^/([\w-]+\.(?:html|css))?(?:\?|$)};
    $name = 'index.html' if $path =~ m{^/(?:\?|$)};
    my $kind = ($name // '') =~ /css$/ ? 'text/css' : 'text/html; charset=utf-8';
    if (defined $name and open my $file, '<:raw', "site/$name") {
        local $/;
        return ('200 OK', $kind, scalar <$file>);
    }
    return ('404 Not Found', 'text/plain', "There is no such page.\n");
}
