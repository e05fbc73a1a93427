// The XML of tunnel messages (RFC 5572 s4.7, Appendix A) to values and back.
//
// Reading is by Xerces-C++ and hardened: no DTD, no entity but the five built in, no network,
// UTF-8 only, bounded size, depth and counts. Writing is plain text, because deployed peers read
// it with naive parsers: no prolog, double quotes, no comments, no tabs, no self-closed elements.
//
// The grammar is the RFC's DTD, corrected where the RFC's own figures break it: `keepalive` in
// `client` and `server` (4.7.2, Figures 13 and 19), action `list` and type `broker` with any number
// of brokers (Figure 9), `type` left out (Figure 13). Unknown elements and attributes are ignored.
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/tsp/message.hpp"

namespace dstm::tsp {

// Ours; the specification has no limits.
inline constexpr std::size_t xml_size_max = 65536;
inline constexpr std::size_t xml_depth_max = 16;
inline constexpr std::size_t xml_elements_max = 256;
inline constexpr std::size_t xml_attributes_max = 32;  // of one element

// White space around the document is allowed. Error `invalid`: the context says what is wrong and
// holds none of the peer's text. May be called from any thread.
[[nodiscard]] Result<TunnelMessage> parse_tunnel_xml(std::string_view xml);

// Ends with CR LF. Text is escaped; what is not printable ASCII becomes '?'.
[[nodiscard]] std::string write_tunnel_xml(const TunnelMessage& message);

}  // namespace dstm::tsp
