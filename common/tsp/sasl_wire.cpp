// SASL on TSP's lines (RFC 5572 s4.4.2, RFC 4422, RFC 4616).
#include "common/tsp/sasl_wire.hpp"

#include <algorithm>
#include <iterator>

#include "common/base/base64.hpp"

namespace dstm::tsp {
namespace {

constexpr std::string_view authenticate_word = "AUTHENTICATE ";
constexpr std::size_t mechanism_size_max = 20;  // RFC 4422 s3.1

char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

// RFC 4422 s3.1
bool is_mechanism_character(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

Result<AuthenticateLine> parse_authenticate_line(std::string_view line) {
    if (!line.starts_with(authenticate_word)) {
        return fail(ErrorCode::invalid, "expected AUTHENTICATE");
    }
    line.remove_prefix(authenticate_word.size());
    while (line.ends_with(' ')) line.remove_suffix(1);

    AuthenticateLine parsed;
    const auto space = line.find(' ');
    std::ranges::transform(line.substr(0, space), std::back_inserter(parsed.mechanism), to_upper);
    if (parsed.mechanism.empty() || parsed.mechanism.size() > mechanism_size_max ||
        !std::ranges::all_of(parsed.mechanism, is_mechanism_character)) {
        return fail(ErrorCode::invalid, "AUTHENTICATE names no mechanism");
    }
    if (space != std::string_view::npos) {
        auto response = decode_sasl_line(line.substr(space + 1));
        if (!response) return tl::unexpected(response.error());
        parsed.initial_response = std::move(*response);
    }
    return parsed;
}

FirstSpeaker first_speaker(std::string_view mechanism) {
    if (mechanism == "ANONYMOUS") return FirstSpeaker::nobody;
    if (mechanism == "DIGEST-MD5" || mechanism == "CRAM-MD5") return FirstSpeaker::server;
    return FirstSpeaker::client;
}

int proof_of_server(std::string_view mechanism) {
    return mechanism == "DIGEST-MD5" || mechanism.starts_with("SCRAM-") ? 2 : 0;
}

Result<std::string> decode_sasl_line(std::string_view line) {
    if (line == "=") return std::string();
    auto message = decode_base64(line);
    if (!message) return fail(ErrorCode::invalid, "SASL line is not base64");
    return std::move(*message);
}

Result<std::string> decode_plain_line(std::string_view line) {
    auto nuls = std::ranges::count(line, '\0');
    if ((nuls == 1 || nuls == 3) && line.front() == '\0') {
        line.remove_prefix(1);
        --nuls;
    }
    if (nuls == 0) return decode_sasl_line(line);
    if (nuls != 2) return fail(ErrorCode::invalid, "PLAIN message is malformed");
    return std::string(line);
}

std::string encode_plain_line(std::string_view message) {
    if (message.find_first_of("\r\n") != std::string_view::npos) return encode_base64(message);
    return std::string(message);
}

}  // namespace dstm::tsp
