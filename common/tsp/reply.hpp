// Status lines and Content-length framing of what we send (RFC 5572 s4.4.3, Appendix B), and the
// reading of a peer's status line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dstm::tsp {

// "200 Success" CR LF. `detail` replaces the title when it is not empty; what could break the line
// is replaced by spaces, and it is cut at 200 characters.
[[nodiscard]] std::string format_status_line(std::uint16_t code, std::string_view detail = {});

struct StatusLine {
    std::uint16_t code = 0;  // 100..1599
    std::string text;        // printable ASCII, other bytes as '?'

    bool operator==(const StatusLine&) const = default;
};

// Three or four digits, then the end or a space and text. A base64 line never looks like that.
[[nodiscard]] std::optional<StatusLine> parse_status_line(std::string_view line);

// "Content-length: N" CR LF and the N bytes. In exactly this case: deployed clients compare it.
[[nodiscard]] std::string frame(std::string_view body);

}  // namespace dstm::tsp
