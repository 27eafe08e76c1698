# The shield: one request to the origin for each part and each playlist version, however many players ask. Varnish lets them wait
# for the one that is under way and answers all at once (nginx's proxy_cache_lock polls twice a second).
vcl 4.1;

import std;

backend origin {
    .host = "gateway";
    .port = "8080";
    .connect_timeout = 2s;
    # A blocking request is answered within three target durations, 30 s at most.
    .first_byte_timeout = 40s;
    .between_bytes_timeout = 10s;
}

sub vcl_recv {
    if (req.url !~ "^/hls/") {
        return (synth(404));
    }
    if (req.method == "OPTIONS") {
        # A browser's question before a request with a Range.
        return (pass);
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (synth(405));
    }
    # Playlists and media are the same for everybody. The token here is the edge's own, which has checked the viewer's: it is for fetching and
    # no part of what things are kept under.
    unset req.http.Cookie;
    # One spelling of one thing: the order of parameters does not matter, an empty query is none, and neither does the name by
    # which this server was called.
    set req.url = std.querysort(req.url);
    set req.url = regsub(req.url, "\?$", "");
    set req.http.Host = "bicast";
    return (hash);
}

sub vcl_backend_fetch {
    # Validators and ranges are answered from here: what is fetched is whole.
    unset bereq.http.If-None-Match;
    unset bereq.http.If-Modified-Since;
}

sub vcl_backend_response {
    # Nothing stale at the live edge: what has run out is asked for again, and everybody waits for that.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (beresp.status >= 500) {
        # The origin says "ask again in a second". Kept for that second, because "not cacheable" would make each player its own request.
        set beresp.ttl = 1s;
        return (deliver);
    }
    if (beresp.status >= 400 && beresp.http.Cache-Control ~ "no-store") {
        # Asked for too early: not kept, but not "not cacheable" either, or whoever guesses names would make each player its own request.
        set beresp.ttl = 0s;
        return (deliver);
    }
    if (beresp.http.Cache-Control ~ "no-store") {
        # True for this moment only, and for two minutes by default: that would end the collapsing of this address.
        set beresp.ttl = 1s;
        set beresp.uncacheable = true;
        return (deliver);
    }
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    set resp.http.X-Cache = "miss";
    if (obj.hits > 0) {
        set resp.http.X-Cache = "hit";
    }
}

sub vcl_synth {
    set resp.http.Access-Control-Allow-Origin = "*";
    set resp.http.Content-Type = "application/problem+json";
    set resp.body = {"{"type":"about:blank","title":""} + resp.reason + {"","status":"} + resp.status + "}";
    return (deliver);
}

sub vcl_backend_error {
    # The origin does not answer. Not kept: it may be back at once.
    set beresp.http.Access-Control-Allow-Origin = "*";
    set beresp.http.Content-Type = "application/problem+json";
    set beresp.http.Retry-After = "1";
    set beresp.http.Cache-Control = "no-store";
    set beresp.body = {"{"type":"about:blank","title":"The origin does not answer","status":"} + beresp.status + "}";
    set beresp.ttl = 0s;
    return (deliver);
}
