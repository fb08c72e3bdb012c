//! What a server of loopback answers.

use super::{Known, Says};

pub(super) fn known() -> Vec<Known> {
    vec![
        Known {
            name: "http",
            first: "var at = 'http://' + getSystemProperty('known.server'), said;\n\
                    try { http(at + '/missing'); } catch (e) { said = String(e).includes('404'); }\n\
                    var got = http(at + '/hello'), put = http(at + '/hello', 'PUT', 'text/plain', 'content');",
            asks: "[got, put, said]",
            says: Says::Json("[\"GET /hello \", \"PUT /hello content\", true]"),
        },
        Known {
            name: "http2",
            first: "var at = 'http://' + getSystemProperty('known.server');\n\
                    var got = http2({url: at + '/missing'}), put = http2({url: at + '/x', operation: 'post', body: {a: 1}});",
            asks: "[got.status, got.body, put.status, put.body]",
            says: Says::Json("[404, \"GET /missing \", 200, \"POST /x {\\\"a\\\":1}\"]"),
        },
        Known {
            name: "httpAsync",
            first: "var at = 'http://' + getSystemProperty('known.server'), came = [], order = [];\n\
                    httpAsync({url: at + '/b', success: function(res) { order.push('answer'); came.push(res.status, res.body); }});\n\
                    httpAsync({url: at + '/missing', error: function(res) { came.push(res.status); }});\n\
                    order.push('script');",
            asks: "[order, came.length === 3 && came.includes('GET /b ') && came.includes(200) && came.includes(404)]",
            says: Says::Json("[[\"script\", \"answer\"], true]"),
        },
    ]
}
