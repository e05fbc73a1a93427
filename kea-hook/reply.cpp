// See the header.
#include "kea-hook/reply.hpp"

namespace dstm::kea {

namespace {

using isc::data::Element;
using isc::data::ElementPtr;

const char* reason_text(Reason reason) {
    switch (reason) {
        case Reason::pool_exhausted: return "pool-exhausted";
        case Reason::prefix_unavailable: return "prefix-unavailable";
        case Reason::bad_request: return "bad-request";
        case Reason::not_serving: return "not-serving";
        case Reason::not_found: return "not-found";
        case Reason::not_owner: return "not-owner";
        case Reason::stale: return "stale";
        case Reason::internal: return "internal";
    }
    return "internal";
}

}  // namespace

Reply to_reply(const Refusal& refusal) {
    Reply reply;
    reply.result = refusal.reason == Reason::not_found ? 3 : 1;
    reply.text = refusal.text;
    reply.arguments = Element::createMap();
    reply.arguments->set("reason", Element::create(std::string(reason_text(refusal.reason))));
    return reply;
}

ElementPtr to_element(const Reply& reply) {
    ElementPtr map = Element::createMap();
    map->set("result", Element::create(static_cast<long long>(reply.result)));
    map->set("text", Element::create(reply.text));
    if (reply.arguments) map->set("arguments", reply.arguments);
    return map;
}

}  // namespace dstm::kea
