// The table behind advice.hpp: RFC 5572 Appendix B in the user's words.
#include "client/advice.hpp"

#include <algorithm>
#include <array>

#include "common/log/log.hpp"
#include "common/tsp/status.hpp"

namespace dstm::client {
namespace {

// RFC 5572 Appendix B; 509, 518, 520 and 522 are known from deployed brokers only.
constexpr std::array advices{
    Advice{300, true, "the server did not accept the user name, the password or the mechanism",
           "check \"user\", \"password-file\" and \"mechanisms\" in the configuration"},
    Advice{301, false, "the server has no free IPv4 address for you now",
           "it is tried again; if this lasts, the operator of the server must enlarge the pool"},
    Advice{302, true, "the server does not speak this version of the protocol (TSP 2.0.0)",
           "check that \"server\" names a DSTM server, or update one of the two programs"},
    Advice{303, true, "the server does not offer this type of tunnel",
           "check \"tunnel-type\" in the configuration, or ask the operator of the server"},
    Advice{310, false, "the server has an error of its own",
           "it is tried again; the reason is in the server's log"},
    Advice{500, true, "the server could not read the request",
           "one of the two programs is wrong or too old: report this with both versions"},
    Advice{501, true, "the server does not accept the IPv4 address of this request",
           "ask the operator of the server"},
    Advice{502, true, "the server does not accept this host's IPv6 address",
           "something between this host and the server may rewrite addresses, or the server serves "
           "other networks only: ask its operator"},
    Advice{506, false, "an earlier tunnel from the same address still stands at the server",
           "it is tried again; the old tunnel ends with its lifetime"},
    Advice{507, true, "the server cannot assign a prefix of this length",
           "ask for another prefix length"},
    Advice{509, false, "the server could not delegate the reverse DNS zone", "it is tried again"},
    Advice{518, true, "the server does not support this prefix length",
           "ask for another prefix length"},
    Advice{520, true, "the server wants a prefix length with the request",
           "give a prefix length"},
    Advice{521, false, "the server is still busy with an earlier request of yours",
           "it is tried again"},
    Advice{522, true, "the server gives prefixes to known users only",
           "set \"user\" and \"password-file\" in the configuration"},
    Advice{530, false, "the server is too busy, or a part behind it is away",
           "it is tried again"},
};

}  // namespace

const Advice* find_advice(std::uint16_t code) {
    const auto found = std::find_if(advices.begin(), advices.end(),
                                    [code](const Advice& advice) { return advice.code == code; });
    return found == advices.end() ? nullptr : &*found;
}

bool is_permanent(std::uint16_t code) {
    const auto* advice = find_advice(code);
    return advice != nullptr && advice->permanent;
}

bool may_differ_elsewhere(std::uint16_t code) {
    return tsp::is_temporary(code) ||
           code == static_cast<std::uint16_t>(tsp::Status::server_error);
}

std::string explain(std::uint16_t code, std::string_view broker_text) {
    auto sentence = "the server answered " + std::to_string(code);
    if (!broker_text.empty()) sentence += ' ' + log::quoted(broker_text);
    const auto* advice = find_advice(code);
    if (advice == nullptr) return sentence + ", a number this client does not know";
    sentence += ": ";
    sentence += advice->meaning;
    if (!advice->remedy.empty()) {
        sentence += "; ";
        sentence += advice->remedy;
    }
    return sentence;
}

}  // namespace dstm::client
