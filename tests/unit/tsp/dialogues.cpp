// Scripted dialogues. Line breaks and indentation of the RFC's figures are editorial; lengths that
// do not add up there are right here.
#include "tests/unit/tsp/script.hpp"

namespace dstm::tsp::script {
namespace {

using namespace std::string_literals;

ServerSessionConfig offering(std::vector<RequestType> types, std::vector<std::string> mechanisms) {
    ServerSessionConfig config;
    config.tunnel_types = std::move(types);
    config.mechanisms = std::move(mechanisms);
    return config;
}

Dialogue figure_8() {
    return {"Figure 8: unsupported version",
            all_mechanisms(),
            {{"VERSION=0.1\r\n"s,
              {"ReportViolation version is not supported: 0.1",
               "Send 302 Unsupported client version\\r\\n", "Close"}}}};
}

Dialogue figure_9() {
    auto config = all_mechanisms();
    config.redirect.brokers = {{{{AddressType::ipv4, "1.2.3.4", {}}}},
                                        {{{AddressType::dn, "ts1.isp1.com", {}}}}};
    return {"Figure 9: unsupported version with a list of brokers",
            config,
            {{"VERSION=1.1\r\n"s,
              {"ReportViolation version is not supported: 1.1",
               "Send 1302 Unsupported client version\\r\\n"
               "<tunnel action=\"list\" type=\"broker\">\\r\\n"
               "  <broker>\\r\\n"
               "    <address type=\"ipv4\">1.2.3.4</address>\\r\\n"
               "  </broker>\\r\\n"
               "  <broker>\\r\\n"
               "    <address type=\"dn\">ts1.isp1.com</address>\\r\\n"
               "  </broker>\\r\\n"
               "</tunnel>\\r\\n",
               "Close"}}}};
}

Dialogue figure_10() {
    return {"Figure 10: mechanism that is not offered",
            offering({RequestType::v6v4, RequestType::v6udpv4}, {"DIGEST-MD5"}),
            {{"VERSION=2.0.0\r\n"s,
              {"Send CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=DIGEST-MD5\\r\\n"}},
             {"AUTHENTICATE ANONYMOUS\r\n"s,
              {"ReportViolation mechanism is not offered", "Send 300 Authentication failed\\r\\n",
               "Close"}}}};
}

Dialogue figure_11() {
    return {
        "Figure 11: anonymous",
        offering({RequestType::v6v4, RequestType::v6udpv4}, {"ANONYMOUS", "PLAIN", "DIGEST-MD5"}),
        {{"VERSION=2.0.0\r\n"s,
          {"Send CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
           "AUTH=DIGEST-MD5\\r\\n"}},
         {"AUTHENTICATE ANONYMOUS\r\n"s, {"StartAuthentication ANONYMOUS []"}},
         {success(), {"Send 200 Success\\r\\n"}}}};
}

Dialogue figure_12() {
    return {
        "Figure 12: DIGEST-MD5",
        offering({RequestType::v6v4, RequestType::v6udpv4}, {"ANONYMOUS", "PLAIN", "DIGEST-MD5"}),
        {{"VERSION=2.0.0\r\n"s,
          {"Send CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
           "AUTH=DIGEST-MD5\\r\\n"}},
         {"AUTHENTICATE DIGEST-MD5\r\n"s, {"StartAuthentication DIGEST-MD5"}},
         {challenge("realm=hexos,nonce=1113908968"),
          {"Send cmVhbG09aGV4b3Msbm9uY2U9MTExMzkwODk2OA==\\r\\n"}},
         {"Y2hhcnNldD11dGYtOCx1c2VybmFtZT0idXNlcm5hbWUxIg==\r\n"s,
          {"ContinueAuthentication [charset=utf-8,username=\"username1\"]"}},
         {success("rspauth=70d5cabc9235568be380ba2c907381fe"),
          {"Send cnNwYXV0aD03MGQ1Y2FiYzkyMzU1NjhiZTM4MGJhMmM5MDczODFmZQ==\\r\\n",
           "Send 200 Success\\r\\n"}}}};
}

Dialogue figure_13() {
    return {
        "Figure 13: command, response, accept",
        all_mechanisms(),
        {{"VERSION=2.0.0\r\n"s,
          {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
           "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"}},
         {"AUTHENTICATE ANONYMOUS\r\n"s, {"StartAuthentication ANONYMOUS []"}},
         {success(), {"Send 200 Success\\r\\n"}},
         {framed("<tunnel action=\"create\" type=\"v6udpv4\">\r\n   <client>\r\n"
                 "      <address type=\"ipv4\">192.0.2.135</address>\r\n"
                 "      <keepalive interval=\"30\"></keepalive>\r\n"
                 "   </client>\r\n</tunnel>\r\n"),
          {"RequestTunnel create v6udpv4 192.0.2.135 keepalive=30"}},
         {tunnel_granted(), {tunnel_granted_reply()}},
         {"Content-length: 35\r\n<tunnel action=\"accept\"></tunnel>\r\n"s, {"ConfirmTunnel"}}}};
}

// The XML ends before the counted CR LF here, after it elsewhere.
Dialogue figure_16() {
    return {"Figure 16: router request with a prefix",
            all_mechanisms(),
            {{"VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n",
               "StartAuthentication ANONYMOUS []"}},
             {success(), {"Send 200 Success\\r\\n"}},
             {framed("<tunnel action=\"create\" type=\"v6v4\">   <client>      "
                     "<address type=\"ipv4\">192.0.2.9</address>      <router>         "
                     "<prefix length=\"48\"/>         <dns_server>            "
                     "<address type=\"ipv4\">192.0.2.5</address>         </dns_server>"
                     "      </router>   </client></tunnel>") +
                  "\r\n",
              {"RequestTunnel create v6v4 192.0.2.9"}},
             {tunnel_refused(Status::prefix_length_unavailable),
              {send_framed("507 Requested prefix length cannot be assigned\r\n")}}}};
}

Dialogue figure_17_18() {
    return {"Figures 17 and 18: IPv4 over IPv6",
            all_mechanisms(),
            {{"VERSION=2.0.0\r\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"}},
             {"AUTHENTICATE ANONYMOUS\r\n"s, {"StartAuthentication ANONYMOUS []"}},
             {success(), {"Send 200 Success\\r\\n"}},
             {framed("<tunnel action=\"create\" type=\"v4v6\">\r\n   <client>\r\n"
                     "      <address type=\"ipv6\">2001:db8:0c18:ffff:0000:0000:0000:0001</address>"
                     "\r\n   </client>\r\n</tunnel>\r\n"),
              {"RequestTunnel create v4v6 2001:db8:0c18:ffff:0000:0000:0000:0001"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {accept(), {"ConfirmTunnel"}}}};
}

Dialogue figure_19() {
    return {"Figure 19: any tunnel type, DIGEST-MD5",
            all_mechanisms(),
            {{"VERSION=2.0.0\r\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"}},
             {"AUTHENTICATE DIGEST-MD5\r\n"s, {"StartAuthentication DIGEST-MD5"}},
             {challenge("nonce"), {"Send bm9uY2U=\\r\\n"}},
             {"cmVzcG9uc2U=\r\n"s, {"ContinueAuthentication [response]"}},
             {success("rspauth"), {"Send cnNwYXV0aA==\\r\\n", "Send 200 Success\\r\\n"}},
             {framed("<tunnel action=\"create\" type=\"v6anyv4\"><client>"
                     "<address type=\"ipv4\">10.1.1.1</address>"
                     "<keepalive interval=\"30\"></keepalive></client></tunnel>\r\n"),
              {"RequestTunnel create v6anyv4 10.1.1.1 keepalive=30"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {accept(), {"ConfirmTunnel"}}}};
}

// NUL after the AUTHENTICATE line, raw PLAIN, LF within the XML: deployed clients.
Dialogue deployed_plain() {
    return {"deployed client with PLAIN",
            all_mechanisms(),
            {{"VERSION=2.0.2\r\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"}},
             {"AUTHENTICATE PLAIN\r\n\0\0alice\0secret\r\n"s,
              {"StartAuthentication PLAIN [\\0alice\\0secret]"}},
             {success(), {"Send 200 Success\\r\\n"}},
             {create_v4v6(), {"RequestTunnel create v4v6 2001:db8:1::5 keepalive=30"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {accept(), {"ConfirmTunnel"}}}};
}

Dialogue deployed_digest() {
    return {"deployed client with DIGEST-MD5",
            all_mechanisms(),
            {{"VERSION=2.0.1\r\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"}},
             {"AUTHENTICATE DIGEST-MD5\r\n"s, {"StartAuthentication DIGEST-MD5"}},
             {challenge("nonce"), {"Send bm9uY2U=\\r\\n"}},
             {"\0cmVzcG9uc2U=\r\n"s, {"ContinueAuthentication [response]"}},
             {success("rspauth"), {"Send cnNwYXV0aA==\\r\\n", "Send 200 Success\\r\\n"}}}};
}

Dialogue deployed_anonymous() {
    return {"deployed client, anonymous",
            all_mechanisms(),
            {{"VERSION=2.0.2\r\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n"}},
             {"AUTHENTICATE ANONYMOUS\r\n"s, {"StartAuthentication ANONYMOUS []"}},
             {"\0"s, {}},
             {success(), {"Send 200 Success\\r\\n"}},
             {create_v4v6(), {"RequestTunnel create v4v6 2001:db8:1::5 keepalive=30"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {accept(), {"ConfirmTunnel"}}}};
}

Dialogue many_commands() {
    return {"renewal, info, reject and delete in one session",
            all_mechanisms(),
            {{"VERSION=2.0.0\nAUTHENTICATE SCRAM-SHA-256\nZmlyc3Q=\n"s,
              {"Send CAPABILITY TUNNEL=V4V6 TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN "
               "AUTH=DIGEST-MD5 AUTH=SCRAM-SHA-256\\r\\n",
               "StartAuthentication SCRAM-SHA-256 [first]"}},
             {challenge("server-first"), {"Send c2VydmVyLWZpcnN0\\r\\n"}},
             {"ZmluYWw=\n"s, {"ContinueAuthentication [final]"}},
             {success("v=proof"), {"Send dj1wcm9vZg==\\r\\n", "Send 200 Success\\r\\n"}},
             {create_v4v6(), {"RequestTunnel create v4v6 2001:db8:1::5 keepalive=30"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {accept(), {"ConfirmTunnel"}},
             {create_v4v6(), {"RequestTunnel create v4v6 2001:db8:1::5 keepalive=30"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {reject(), {"DeclineTunnel", send_framed("200 Success\r\n")}},
             {command("action=\"info\""), {"RequestTunnel info"}},
             {tunnel_granted(), {tunnel_granted_reply()}},
             {command("action=\"delete\" type=\"v4v6\""), {"RequestTunnel delete v4v6"}},
             {TunnelAnswered{Status::success, {}, {}, {}}, {send_framed("200 Success\r\n")}},
             {PeerClosed{}, {"Close"}}}};
}

}  // namespace

std::vector<Dialogue> dialogues() {
    return {figure_8(),        figure_9(),           figure_10(),    figure_11(), figure_12(),
            figure_13(),       figure_16(),          figure_17_18(), figure_19(), deployed_plain(),
            deployed_digest(), deployed_anonymous(), many_commands()};
}

}  // namespace dstm::tsp::script
