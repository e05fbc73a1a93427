// How SASL messages stand in TSP's authentication phase (RFC 5572 s4.4.2): the AUTHENTICATE line,
// base64 lines, and PLAIN, which deployed clients send raw. It knows no mechanism's contents.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace dstm::tsp {

struct AuthenticateLine {
    std::string mechanism;  // upper case
    // Ours: base64 behind the mechanism, "=" for an empty one, as in RFC 4954 s4.
    std::optional<std::string> initial_response;

    bool operator==(const AuthenticateLine&) const = default;
};

// "AUTHENTICATE mechanism [base64]"
[[nodiscard]] Result<AuthenticateLine> parse_authenticate_line(std::string_view line);

// Who sends the first SASL message after the AUTHENTICATE line.
enum class FirstSpeaker {
    client,  // PLAIN, SCRAM, GSSAPI, EXTERNAL and all we do not know
    server,  // DIGEST-MD5, CRAM-MD5: a challenge
    nobody,  // ANONYMOUS: deployed clients send no trace information, and wait for the status
};
[[nodiscard]] FirstSpeaker first_speaker(std::string_view mechanism);

// Which message of the server, counted from 1, ends the exchange and proves the server's own
// knowledge of the secret (rspauth, SCRAM's v=). The status follows it at once, and the client
// sends nothing. 0: the mechanism has none. RFC 5572 Figure 12.
[[nodiscard]] int proof_of_server(std::string_view mechanism);

// One line of base64; "" and "=" are the empty message.
[[nodiscard]] Result<std::string> decode_sasl_line(std::string_view line);

// The first line after AUTHENTICATE PLAIN: raw `[authorization] NUL user NUL password` (RFC 4616),
// or its base64. Raw has two NULs, base64 has none: that tells them apart. One NUL more in front
// is the one old clients put after the AUTHENTICATE line, and is dropped.
[[nodiscard]] Result<std::string> decode_plain_line(std::string_view line);

// What a client sends: raw, as deployed servers expect, if the message can stand on one line.
[[nodiscard]] std::string encode_plain_line(std::string_view message);

}  // namespace dstm::tsp
