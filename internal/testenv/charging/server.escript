#!/usr/bin/env escript
%% -*- erlang -*-
%% A prepaid charging server on the diameter application of Erlang/OTP: one peer,
%% credit control, one unit of money a unit of service. Listens on a free port of
%% 127.0.0.1 and prints it. It is told what to do by lines on its standard input,
%% answers each with one line, and ends with the input.
%%
%%   balance NUMBER UNITS   opens an account, or sets it
%%   show NUMBER            "account NUMBER UNITS free HELD"
%%   message ID             "message ID DEBITED REFUNDED": the units of all sessions of
%%                          a Message; what is said again counts once
%%   mute N                 processes the next N requests, and does not answer them
%%   delay N MS             processes the next N requests at once, and answers them MS
%%                          milliseconds later
%%   inner                  says 4012 and 5030 within MSCC, and 2001 outside
%%   exists                 refuses a replay by 5030, as some servers do
%%   failover               answers with CC-Session-Failover and CCFH TERMINATE
%%   up N                   waits until the Nth peer is up: what comes before the
%%                          application knows of the peer is dropped in silence
%%   counts                 "counts CCR REPLAYS ERRORS DWR DWA": received
%%   leave                  says DPR to all peers, and does not listen any more
%%   return                 listens again, on the same port
-mode(compile).
-export([main/1, interval/1,
         peer_up/3, peer_down/3, pick_peer/4, prepare_request/3, prepare_retransmit/3,
         handle_answer/4, handle_error/4, handle_request/3]).

%% The records of the application's header file, which Debian packs elsewhere.
-record(diameter_packet, {header, avps, msg, bin, errors = [], transport_data}).
-record(diameter_header, {version, length, cmd_code, application_id, hop_by_hop_id, end_to_end_id,
                          is_request, is_proxiable, is_error, is_retransmitted}).

-record(state, {accounts = #{}, held = #{}, record = #{}, moved = #{}, mute = 0, delay = {0, 0}, inner = false, exists = false,
                failover = false, ccr = 0, replays = 0, errors = 0, ups = 0}).

main([Dia, Host, Watchdog]) ->
    {ok, Name, Code} = dictionary(Dia),
    {module, Name} = code:load_binary(Name, "ro", Code),
    ok = diameter:start(),
    ok = diameter:start_service(ocs,
        [{'Origin-Host', Host}, {'Origin-Realm', "ocs.test"}, {'Vendor-Id', 0}, {'Product-Name', "escript"},
         {'Auth-Application-Id', [4]}, {decode_format, map}, {string_decode, false},
         {application, [{alias, cc}, {dictionary, Name}, {module, ?MODULE}, {call_mutates_state, false},
                        {request_errors, callback}]}]),
    register(money, spawn_link(fun() -> money(#state{}) end)),
    Listen = fun(Port) ->
        {ok, Ref} = diameter:add_transport(ocs, {listen,
            [{transport_module, diameter_tcp},
             {transport_config, [{reuseaddr, true}, {ip, {127, 0, 0, 1}}, {port, Port}]},
             {watchdog_timer, {?MODULE, interval, [list_to_integer(Watchdog)]}}]}),
        port(Ref)
    end,
    Port = Listen(0),
    io:format("listening ~p~n", [Port]),
    lines(fun() -> Listen(Port) end).

interval(Milliseconds) -> Milliseconds.

dictionary(File) ->
    {ok, [Forms]} = diameter_make:codec(File, [return, forms]),
    {ok, Name, Code} = compile:forms(Forms),
    {ok, Name, Code}.

port(Ref) ->
    case [P || {listen, P, _} <- diameter_tcp:ports(Ref)] of
        [P | _] -> P;
        [] -> receive after 10 -> port(Ref) end
    end.

lines(Return) ->
    case io:get_line("") of
        eof -> halt(0);
        "return\n" -> io:format("listening ~p~n", [Return()]), lines(Return);
        Line -> command(string:lexemes(string:trim(Line), " ")), lines(Return)
    end.

command(["counts"]) ->
    {Ccr, Replays, Errors} = ask(counts),
    io:format("counts ~p ~p ~p ~p ~p~n", [Ccr, Replays, Errors, received({0, 280, 1}), received({0, 280, 0})]);
command(["leave"]) ->
    ok = diameter:remove_transport(ocs, true),
    io:format("left~n");
command(["up", N]) ->
    up(list_to_integer(N)),
    io:format("done~n");
command(["show", Number]) ->
    {Free, Held} = ask({show, list_to_binary(Number)}),
    io:format("account ~s ~p free ~p~n", [Number, Free, Held]);
command(["message", Id]) ->
    {Debited, Refunded} = ask({message, list_to_binary(Id)}),
    io:format("message ~s ~p ~p~n", [Id, Debited, Refunded]);
command(["balance", Number, Units]) ->
    ask({balance, list_to_binary(Number), list_to_integer(Units)}),
    io:format("done~n");
command(["mute", N]) ->
    ask({mute, list_to_integer(N)}),
    io:format("done~n");
command(["delay", N, Milliseconds]) ->
    ask({delay, list_to_integer(N), list_to_integer(Milliseconds)}),
    io:format("done~n");
command([Word]) ->
    ask(list_to_existing_atom(Word)),
    io:format("done~n").

%% received counts messages of all connections; counters are by {message, direction}.
received(Message) ->
    lists:sum([N || {_, Counters} <- diameter:service_info(ocs, statistics),
                    {{M, recv}, N} <- Counters, M =:= Message]).

up(N) ->
    case ask(ups) of
        Ups when Ups >= N -> ok;
        _ -> receive after 5 -> up(N) end
    end.

ask(What) ->
    Ref = make_ref(),
    money ! {self(), Ref, What},
    receive {Ref, Answer} -> Answer end.

%% The callbacks.

peer_up(_, _, S) -> ask(up), S.
peer_down(_, _, S) -> S.
pick_peer(_, _, _, _) -> false.
prepare_request(_, _, _) -> discard.
prepare_retransmit(_, _, _) -> discard.
handle_answer(_, _, _, _) -> ok.
handle_error(_, _, _, _) -> ok.

handle_request(#diameter_packet{msg = ['CCR' | Ccr], header = Header, errors = []}, _, {_, Caps}) ->
    Again = Header#diameter_header.is_retransmitted,
    case ask({ccr, Ccr, Again}) of
        silence -> discard;
        {After, Answer} ->
            receive after After -> ok end, % in a process of this request's own
            #{'Session-Id' := Session, 'CC-Request-Type' := Type, 'CC-Request-Number' := Number} = Ccr,
            {Host, Realm} = origin(Caps),
            {reply, ['CCA' | Answer#{'Session-Id' => Session, 'Origin-Host' => Host, 'Origin-Realm' => Realm,
                                     'Auth-Application-Id' => 4,
                                     'CC-Request-Type' => Type, 'CC-Request-Number' => Number}]}
    end;
handle_request(#diameter_packet{errors = [E | _]}, _, _) ->
    ask({error, E}),
    {answer_message, case E of {Code, _} -> Code; Code -> Code end}.

%% Capabilities are a record whose second and third fields are {ours, theirs}.
origin(Caps) -> {element(1, element(2, Caps)), element(1, element(3, Caps))}.

%% The accounts, in one process.

money(S) ->
    receive
        {From, Ref, What} ->
            {Answer, Next} = do(What, S),
            From ! {Ref, Answer},
            money(Next)
    end.

do(counts, S) -> {{S#state.ccr, S#state.replays, S#state.errors}, S};
do(up, S) -> {ok, S#state{ups = S#state.ups + 1}};
do(ups, S) -> {S#state.ups, S};
do(inner, S) -> {ok, S#state{inner = true}};
do(exists, S) -> {ok, S#state{exists = true}};
do(failover, S) -> {ok, S#state{failover = true}};
do({mute, N}, S) -> {ok, S#state{mute = N}};
do({delay, N, Milliseconds}, S) -> {ok, S#state{delay = {N, Milliseconds}}};
do({error, E}, S) -> io:format(standard_error, "refused: ~p~n", [E]), {ok, S#state{errors = S#state.errors + 1}};
do({balance, Number, Units}, S) -> {ok, S#state{accounts = maps:put(Number, Units, S#state.accounts)}};
do({show, Number}, S) ->
    Held = lists:sum([U || {N, U} <- maps:values(S#state.held), N =:= Number]),
    {{maps:get(Number, S#state.accounts, 0), Held}, S};
do({message, Id}, S) ->
    Of = [M || {Session, M} <- maps:to_list(S#state.moved), binary:match(iolist_to_binary(Session), Id) =/= nomatch],
    {{lists:sum([D || {D, _} <- Of]), lists:sum([R || {_, R} <- Of])}, S};
do({ccr, Ccr, Again}, S0) ->
    S = S0#state{ccr = S0#state.ccr + 1, replays = S0#state.replays + case Again of true -> 1; false -> 0 end},
    Key = {maps:get('Session-Id', Ccr), maps:get('CC-Request-Type', Ccr), maps:get('CC-Request-Number', Ccr)},
    {Answer, Next} = case S#state.record of
        #{Key := _} when S#state.exists -> {refuse(5030, S), S};
        #{Key := Recorded} -> {Recorded, S};
        _ ->
            {A, N} = charge(Ccr, S),
            {A, N#state{record = maps:put(Key, A, N#state.record)}}
    end,
    case Next of
        #state{mute = 0, delay = {0, _}} -> {{0, Answer}, Next};
        #state{mute = 0, delay = {Late, After}} -> {{After, Answer}, Next#state{delay = {Late - 1, After}}};
        #state{mute = Mute} -> {silence, Next#state{mute = Mute - 1}}
    end.

charge(#{'CC-Request-Type' := 1} = Ccr, S) ->
    Session = maps:get('Session-Id', Ccr),
    with_account(Ccr, S, fun(Number, Free) ->
        case asked('Requested-Service-Unit', Ccr) of
            N when N =< Free ->
                {grant(N, S), S#state{accounts = maps:put(Number, Free - N, S#state.accounts),
                                      held = maps:put(Session, {Number, N}, S#state.held)}};
            _ -> {refuse(4012, S), S}
        end end);
charge(#{'CC-Request-Type' := 3} = Ccr, S) ->
    Session = maps:get('Session-Id', Ccr),
    case maps:take(Session, S#state.held) of
        error -> {#{'Result-Code' => 5002}, S};
        {{Number, Held}, Rest} ->
            Used = asked('Used-Service-Unit', Ccr),
            #{Number := Free} = S#state.accounts,
            {grant(none, S), moved(Session, Used, 0, S#state{accounts = maps:put(Number, Free + Held - Used, S#state.accounts), held = Rest})}
    end;
charge(#{'CC-Request-Type' := 4, 'Requested-Action' := [Action]} = Ccr, S) ->
    Session = maps:get('Session-Id', Ccr),
    with_account(Ccr, S, fun(Number, Free) ->
        case {Action, asked('Requested-Service-Unit', Ccr)} of
            {0, N} when N =< Free -> {grant(N, S), moved(Session, N, 0, S#state{accounts = maps:put(Number, Free - N, S#state.accounts)})};
            {0, _} -> {refuse(4012, S), S};
            {1, N} -> {grant(N, S), moved(Session, 0, N, S#state{accounts = maps:put(Number, Free + N, S#state.accounts)})}
        end end).

%% moved notes what a session debited and refunded.
moved(Session, Debited, Refunded, S) ->
    {D, R} = maps:get(Session, S#state.moved, {0, 0}),
    S#state{moved = maps:put(Session, {D + Debited, R + Refunded}, S#state.moved)}.

with_account(Ccr, S, Fun) ->
    [#{'Subscription-Id-Type' := 0, 'Subscription-Id-Data' := Data} | _] = maps:get('Subscription-Id', Ccr),
    Number = iolist_to_binary(Data),
    case S#state.accounts of
        #{Number := Free} -> Fun(Number, Free);
        _ -> {refuse(5030, S), S}
    end.

asked(Unit, #{'Multiple-Services-Credit-Control' := [Control | _]}) -> units(maps:get(Unit, Control));
asked(Unit, Ccr) -> units(maps:get(Unit, Ccr)).

units([#{'CC-Service-Specific-Units' := N}]) -> N.

grant(Units, S) ->
    Granted = case Units of
        none -> #{'Result-Code' => 2001};
        N -> #{'Result-Code' => 2001, 'Multiple-Services-Credit-Control' =>
                   [#{'Granted-Service-Unit' => [#{'CC-Service-Specific-Units' => N}], 'Result-Code' => [2001]}]}
    end,
    case S#state.failover of
        true -> Granted#{'CC-Session-Failover' => [1], 'Credit-Control-Failure-Handling' => [0]};
        false -> Granted
    end.

refuse(Code, #state{inner = true}) ->
    #{'Result-Code' => 2001, 'Multiple-Services-Credit-Control' => [#{'Result-Code' => [Code]}]};
refuse(Code, _) -> #{'Result-Code' => Code}.
