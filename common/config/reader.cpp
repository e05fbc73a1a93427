// Typed reading of one object. Every getter marks the key as wanted, and turns a wrong value into a
// mistake plus a harmless value, so that one run reports all mistakes.
#include "common/config/reader.hpp"

#include "common/config/node.hpp"

namespace dstm::config {
namespace {

const Node empty_object{Members{}, 1};

const Node& as_node(const void* node) { return *static_cast<const Node*>(node); }

const Node* look_up(const void* node, std::string_view key) {
    if (node != &empty_object) as_node(node).known.emplace(key);
    return as_node(node).find(key);
}

}  // namespace

const char* type_name(const Node& node) {
    constexpr const char* names[] = {"null",   "true or false", "an integer", "a fraction",
                                     "a text", "an object",     "a list"};
    return names[node.value.index()];
}

Reader::Reader(Document::State* state, const void* node, std::string path)
    : state_(state), node_(node), path_(std::move(path)) {}

std::string joined(const std::string& path, const std::string& name) {
    return path.empty() || name.empty() || name.front() == '[' ? path + name : path + '.' + name;
}

bool Reader::has(std::string_view key) const { return look_up(node_, key) != nullptr; }

std::string Reader::place_of(std::string_view key) const {
    const auto* child = as_node(node_).find(key);
    const auto line = child != nullptr ? child->line : as_node(node_).line;
    return state_->name + ':' + std::to_string(line) + ": " + joined(path_, std::string(key));
}

void Reader::mistake(std::string_view key, std::string what) {
    const auto* child = as_node(node_).find(key);
    const auto line = child != nullptr ? child->line : as_node(node_).line;
    state_->mistakes.push_back({line, joined(path_, std::string(key)) + ": " + std::move(what)});
}

template <class Value>
const Value* Reader::find(std::string_view key, const char* expected, bool required) {
    const auto* child = look_up(node_, key);
    if (child == nullptr) {
        if (required) mistake(key, std::string("missing; it must be ") + expected);
        return nullptr;
    }
    child->wanted = true;
    const auto* value = std::get_if<Value>(&child->value);
    if (value == nullptr) {
        mistake(key, std::string("is ") + type_name(*child) + "; it must be " + expected);
    }
    return value;
}

std::string Reader::string(std::string_view key) {
    const auto* value = find<std::string>(key, "a text", true);
    if (value != nullptr && value->empty()) mistake(key, "must not be empty");
    return value != nullptr ? *value : std::string();
}

std::string Reader::string(std::string_view key, std::string fallback) {
    const auto* value = find<std::string>(key, "a text", false);
    return value != nullptr ? *value : std::move(fallback);
}

std::int64_t Reader::integer_or(std::string_view key, std::int64_t min, std::int64_t max,
                                std::optional<std::int64_t> fallback) {
    const auto range = "an integer from " + std::to_string(min) + " to " + std::to_string(max);
    const auto* value = find<std::int64_t>(key, range.c_str(), !fallback.has_value());
    if (value == nullptr) return fallback.value_or(min);
    if (*value >= min && *value <= max) return *value;
    mistake(key, std::to_string(*value) + " is not " + range);
    return min;
}

std::int64_t Reader::integer(std::string_view key, std::int64_t min, std::int64_t max) {
    return integer_or(key, min, max, std::nullopt);
}

std::int64_t Reader::integer(std::string_view key, std::int64_t min, std::int64_t max,
                             std::int64_t fallback) {
    return integer_or(key, min, max, fallback);
}

bool Reader::boolean(std::string_view key, bool fallback) {
    const auto* value = find<bool>(key, "true or false", false);
    return value != nullptr ? *value : fallback;
}

std::vector<std::string> Reader::strings(std::string_view key, std::vector<std::string> fallback) {
    const auto* elements = find<Elements>(key, "a list of texts", false);
    if (elements == nullptr) return fallback;
    std::vector<std::string> values;
    for (const auto& element : *elements) {
        if (const auto* text = std::get_if<std::string>(&element.value))
            values.push_back(*text);
        else
            mistake(key,
                    std::string("holds ") + type_name(element) + "; it must be a list of texts");
    }
    return values;
}

std::size_t Reader::choice(std::string_view key, const std::vector<std::string>& allowed,
                           std::optional<std::size_t> fallback) {
    std::string expected = "one of";
    for (const auto& name : allowed) expected += ' ' + name;
    const auto* value = find<std::string>(key, expected.c_str(), !fallback.has_value());
    if (value == nullptr) return fallback.value_or(0);
    for (std::size_t i = 0; i < allowed.size(); ++i) {
        if (allowed[i] == *value) return i;
    }
    mistake(key, '"' + *value + "\" is not " + expected);
    return fallback.value_or(0);
}

template <class Value>
Value Reader::parsed(std::string_view key, const char* expected) {
    const auto* text = find<std::string>(key, expected, true);
    if (text == nullptr) return {};
    if (const auto value = Value::parse(*text)) return *value;
    mistake(key, '"' + *text + "\" is not " + expected);
    return {};
}

Ipv4Address Reader::ipv4(std::string_view key) {
    return parsed<Ipv4Address>(key, "an IPv4 address such as 192.0.2.1");
}

Ipv6Address Reader::ipv6(std::string_view key) {
    return parsed<Ipv6Address>(key, "an IPv6 address such as 2001:db8::1");
}

Reader Reader::object(std::string_view key) {
    const auto path = joined(path_, std::string(key));
    if (find<Members>(key, "an object", false) == nullptr) return {state_, &empty_object, path};
    return {state_, as_node(node_).find(key), path};
}

std::vector<Reader> Reader::objects(std::string_view key) {
    std::vector<Reader> readers;
    const auto* elements = find<Elements>(key, "a list of objects", false);
    if (elements == nullptr) return readers;
    const auto path = joined(path_, std::string(key));
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const auto& element = (*elements)[i];
        const auto element_path = joined(path, '[' + std::to_string(i) + ']');
        if (std::holds_alternative<Members>(element.value)) {
            readers.push_back(Reader(state_, &element, element_path));
        } else {
            mistake(key,
                    std::string("holds ") + type_name(element) + "; it must be a list of objects");
        }
    }
    return readers;
}

}  // namespace dstm::config
