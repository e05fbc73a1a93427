// JSON text to nodes with line numbers. nlohmann-json does the reading; the two things it lacks are
// here: '#' comments as Kea has them, and where a value stood.
#include <algorithm>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "common/config/node.hpp"

namespace dstm::config {
namespace {

constexpr std::size_t file_size_max = 1 << 20;
constexpr std::size_t depth_max = 32;

// Blanks comments in place, so that every other character keeps its line and column.
std::string without_comments(std::string_view text) {
    std::string out(text);
    std::size_t i = 0;
    const auto blank_until = [&](std::size_t end) {
        for (; i < end; ++i) {
            if (out[i] != '\n') out[i] = ' ';
        }
    };
    while (i < out.size()) {
        const auto rest = std::string_view(out).substr(i);
        if (out[i] == '"') {
            for (++i; i < out.size() && out[i] != '"' && out[i] != '\n'; ++i) {
                if (out[i] == '\\' && i + 1 < out.size()) ++i;
            }
            ++i;
        } else if (out[i] == '#' || rest.starts_with("//")) {
            blank_until(std::min(out.find('\n', i), out.size()));
        } else if (rest.starts_with("/*")) {
            const auto end = out.find("*/", i + 2);
            // An unfinished comment stays, so that the parser complains about it where it begins.
            if (end == std::string::npos) break;
            blank_until(end + 2);
        } else {
            ++i;
        }
    }
    return out;
}

// Feeds the parser and remembers the line of the last character that was not white space: at a
// callback that is the line of the value just read, as the parser reads ahead by at most one.
class CountingIterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    struct Position {
        std::size_t line = 1;
        std::size_t value_line = 1;
    };

    CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}
    reference operator*() const { return *at_; }
    CountingIterator& operator++() {
        if (*at_ == '\n')
            ++position_->line;
        else if (*at_ != ' ' && *at_ != '\t' && *at_ != '\r')
            position_->value_line = position_->line;
        ++at_;
        return *this;
    }
    CountingIterator operator++(int) {
        auto before = *this;
        ++*this;
        return before;
    }
    bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
    bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

private:
    const char* at_;
    Position* position_;
};

// Receives the parser's events and builds the tree.
class TreeBuilder {
public:
    using json = nlohmann::json;

    TreeBuilder(const CountingIterator::Position& position, Document::State& state)
        : position_(position), state_(state) {}

    [[nodiscard]] const std::string& error() const { return error_; }

    bool null() { return place(nullptr); }
    bool boolean(bool value) { return place(value); }
    bool number_integer(json::number_integer_t value) { return place(std::int64_t{value}); }
    bool number_unsigned(json::number_unsigned_t value) {
        // What does not fit is read as a fraction, so that every range check refuses it.
        if (value > INT64_MAX) return place(static_cast<double>(value));
        return place(static_cast<std::int64_t>(value));
    }
    bool number_float(json::number_float_t value, const std::string&) { return place(value); }
    bool string(std::string& value) { return place(std::move(value)); }
    bool binary(json::binary_t&) { return false; }
    bool start_object(std::size_t) { return open(Members{}); }
    bool start_array(std::size_t) { return open(Elements{}); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }

    bool key(std::string& name) {
        if (open_.back()->find(name) != nullptr) {
            state_.mistakes.push_back({position_.value_line, name + ": given twice"});
        }
        key_ = std::move(name);
        return true;
    }

    bool parse_error(std::size_t, const std::string& last_token, const json::exception&) {
        error_ = "not valid JSON near \"" + last_token.substr(0, 40) + '"';
        return false;
    }

private:
    template <class Value>
    bool place(Value value) {
        add(std::move(value));
        return true;
    }

    template <class Container>
    bool open(Container container) {
        if (open_.size() >= depth_max) {
            error_ = "nested deeper than " + std::to_string(depth_max);
            return false;
        }
        open_.push_back(add(std::move(container)));
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    // The address stays good while the node is open: its parent gets no other child meanwhile.
    template <class Value>
    Node* add(Value value) {
        Node node{std::move(value), position_.value_line};
        if (open_.empty()) {
            state_.root = std::move(node);
            return &state_.root;
        }
        if (auto* members = std::get_if<Members>(&open_.back()->value)) {
            return &members->emplace_back(std::move(key_), std::move(node)).second;
        }
        return &std::get<Elements>(open_.back()->value).emplace_back(std::move(node));
    }

    const CountingIterator::Position& position_;
    Document::State& state_;
    std::vector<Node*> open_;
    std::string key_;
    std::string error_;
};

// Only what is inside objects that were read: an unknown object is one mistake, not many.
void find_unknown(const Node& node, const std::string& path, std::vector<Mistake>& mistakes) {
    if (const auto* members = std::get_if<Members>(&node.value)) {
        for (const auto& [key, child] : *members) {
            const auto child_path = path.empty() ? key : path + '.' + key;
            if (child.wanted)
                find_unknown(child, child_path, mistakes);
            else
                mistakes.push_back({child.line, child_path + ": unknown key"});
        }
    } else if (const auto* elements = std::get_if<Elements>(&node.value)) {
        for (std::size_t i = 0; i < elements->size(); ++i) {
            find_unknown((*elements)[i], path + '[' + std::to_string(i) + ']', mistakes);
        }
    }
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    const auto* members = std::get_if<Members>(&value);
    if (members == nullptr) return nullptr;
    const auto found = std::find_if(members->begin(), members->end(),
                                    [&](const auto& member) { return member.first == key; });
    return found == members->end() ? nullptr : &found->second;
}

Document::Document(std::unique_ptr<State> state) : state_(std::move(state)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::load(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return tl::unexpected(error_from_errno(errno, path));
    std::string text(file_size_max + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return fail(ErrorCode::unavailable, path + ": cannot be read");
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > file_size_max) return fail(ErrorCode::invalid, path + ": larger than 1 MiB");
    return parse(text, path);
}

Result<Document> Document::parse(std::string_view text, std::string name) {
    auto state = std::make_unique<State>();
    state->name = std::move(name);
    const auto plain = without_comments(text);
    CountingIterator::Position position;
    TreeBuilder builder(position, *state);
    const CountingIterator first(plain.data(), &position);
    const CountingIterator last(plain.data() + plain.size(), &position);
    if (!nlohmann::json::sax_parse(first, last, &builder)) {
        return fail(ErrorCode::invalid, state->name + ':' + std::to_string(position.value_line) +
                                            ": " + builder.error());
    }
    if (!std::holds_alternative<Members>(state->root.value)) {
        return fail(ErrorCode::invalid, state->name + ":1: must be an object { ... }");
    }
    return Document(std::move(state));
}

Reader Document::root() { return Reader(state_.get(), &state_->root, ""); }

std::vector<std::string> Document::finish() {
    auto mistakes = state_->mistakes;
    find_unknown(state_->root, "", mistakes);
    std::stable_sort(mistakes.begin(), mistakes.end(),
                     [](const Mistake& a, const Mistake& b) { return a.line < b.line; });
    std::vector<std::string> lines;
    for (const auto& [line, what] : mistakes) {
        lines.push_back(state_->name + ':' + std::to_string(line) + ": " + what);
    }
    return lines;
}

}  // namespace dstm::config
